"""What an index says of itself, and the table of its pictures.

indexes/<name>/
  index.json      which run and which weights made the vectors, of what; kind, effort, measured recall; digests of the files
  items.parquet   a row for each picture: name, size and time of its file, digest
  vectors.npy     (n, d) float32: the vectors, row i of picture i
  index.faiss     FAISS's index that proposes items; none where every vector is compared
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from itrcore import intact, limits
from itrcore.errors import DataError
from itrcore.files import parse_json, read_within, sealed, write_sealed
from itrcore.index.gallery import Folder, Gallery, Item, Split
from itrcore.index.neighbours import Kind
from itrcore.tables import read_parquet

RECORD, ITEMS, VECTORS, FAISS = "index.json", "items.parquet", "vectors.npy", "index.faiss"
SCHEMA = pa.schema([("name", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("sha256", pa.string())])
_AGAIN = "Run itr index again."
_PLACES = ("where", "folder")


class IndexRecord(BaseModel):
    """index.json.

    run, where, weights: the run's name, where it was loaded from, and the digest of its weights
    folder: of the pictures, or None; data, split: of the data set, or None
        In the file, `where` and `folder` are relative to the index if all lie in the project: it may be moved and given away.
    n, dim: vectors, and their width
    kind, effort: of the index; effort is None where every vector is compared
    wanted: the recall that an approximate one was to reach; None where every vector is compared
    recall, queries: share of the exact ten nearest that a search finds, and how many texts or pictures that was measured with
    versions: of the packages that made it; files: path in the index's folder → SHA-256
    """

    model_config = ConfigDict(extra="forbid")

    run: str
    where: str
    weights: str
    folder: str | None
    data: str | None
    split: str | None
    n: int
    dim: int
    kind: Kind
    effort: int | None
    wanted: float | None
    recall: float
    queries: str
    versions: dict[str, str]
    files: dict[str, str]

    def gallery(self) -> Gallery:
        """The pictures that it is made of."""
        if self.folder is not None:
            return Folder(Path(self.folder))
        assert self.data is not None and self.split is not None
        return Split(self.data, self.split)


def read(folder: Path) -> IndexRecord:
    """index.json. `DataError` where there is none or it is damaged."""
    path = folder / RECORD
    try:
        data = read_within(path, limits.JSON)
        sealed(parse_json(data))
        record = IndexRecord.model_validate({key: value for key, value in parse_json(data).items() if key != "digest"})
    except FileNotFoundError:
        raise DataError.at(path, "no such file", "the folder of an index", do="Make one with: itr index") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError.at(path, f"{where}: {first['msg']}", "what itr index writes", do=_AGAIN) from error
    except (OSError, ValueError) as error:
        raise DataError.at(path, f"it is damaged ({error})", "what itr index writes", do=_AGAIN) from error
    record = record.model_copy(update={key: _there(getattr(record, key), folder) for key in _PLACES})
    if (record.folder is None) is (record.data is None) or (record.data is None) is not (record.split is None):
        raise DataError.at(path, "it names no gallery", "a folder, or a data set and its split", do=_AGAIN)
    return record


def write(record: IndexRecord, folder: Path, index: Path) -> None:
    """Write index.json into a folder that becomes the index."""
    given = {key: _from(getattr(record, key), index) for key in _PLACES}
    write_sealed(folder / RECORD, record.model_copy(update=given).model_dump(mode="json"))


def _from(place: str | None, index: Path) -> str | None:
    here, index = Path.cwd(), index.absolute()
    if place is None or not (
        Path(place).is_relative_to(here) and index.is_relative_to(here)
    ):  # elsewhere, or one of MLflow
        return place
    return os.path.relpath(place, index)


def _there(place: str | None, index: Path) -> str | None:
    if place is None or not place.startswith("."):
        return place
    return os.path.normpath(index.absolute() / place)


def check(folder: Path, record: IndexRecord) -> None:
    """`DataError` names the first file that is missing or has changed. All is read once: FAISS trusts what it reads."""
    try:
        intact.check(folder, record.files)
    except DataError as error:
        raise DataError(f"{str(error).partition(';')[0]}; expected it as itr index wrote it. {_AGAIN}") from error


def write_items(path: Path, items: list[Item]) -> None:
    """The table, its pages with checksums."""
    columns = list(zip(*items, strict=True))
    pq.write_table(pa.table(list(map(list, columns)), schema=SCHEMA), path, write_page_checksum=True)


def read_items(path: Path) -> list[Item]:
    """The table. `DataError` where it is not what `write_items` wrote."""
    try:
        table = read_parquet(path, SCHEMA)
        if any(table[name].null_count for name in SCHEMA.names):
            raise ValueError("it has empty cells")
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise DataError.at(path, f"cannot be read ({error})", "the table of an index", do=_AGAIN) from error
    return [Item(*row) for row in zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True)]
