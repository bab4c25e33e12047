"""The caption table of a data set: one Parquet row per caption, the same whatever the source was.

captions.parquet    the table, its pages with checksums
splits.json         beside it: its SHA-256, and what each split has
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itrcore import intact
from itrcore.errors import DataError
from itrcore.files import replacing, sha256, write_sealed
from itrcore.settings.datasets import SPLITS
from itrcore.tables import read_parquet

SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file_name", pa.string()),  # null where the data set has no id_mapping.json
        ("split", pa.string()),  # train, dev or test
        ("position", pa.int32()),  # of the image in its split, from 0
        ("caption_id", pa.int64()),
        ("text", pa.string()),
    ]
)

_ROWS = 4096
_RECORD, _SHA256 = "splits.json", "captions_sha256"


@dataclass(frozen=True)
class Image:
    """One image of a split and its captions."""

    image_id: int
    file_name: str | None
    caption_ids: list[int]
    captions: list[str]

    def as_json(self) -> bytes:
        """The image as the sample of a shard has it: JSON in UTF-8."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()


def write(table: pa.Table, path: Path, counts: Mapping[str, Any] | None = None) -> None:
    """Write the table as Parquet, then splits.json beside it; each atomically.

    counts: what each split has, as JSON values, for people
    """
    with replacing(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)
    write_sealed(path.with_name(_RECORD), {**(counts or {}), _SHA256: sha256(path)})


def rows_of(table: pa.Table, split: str) -> pa.Table:
    """The rows of one split of a table."""
    # Not `pc.equal`: to compare with a plain `str` it would import pandas.
    return table.filter(pc.match_like(table["split"], split))


def images_of(table: pa.Table, split: str) -> list[Image]:
    """The images of one split of a table in order, each with its captions in order."""
    images: list[Image] = []
    position = -1
    # Block by block: COCO's 600,000 captions as dictionaries at once would take half a gigabyte.
    for row in (row for block in rows_of(table, split).to_batches(_ROWS) for row in block.to_pylist()):
        if row["position"] != position:
            position = row["position"]
            images.append(Image(row["image_id"], row["file_name"], [], []))
        images[-1].caption_ids.append(row["caption_id"])
        images[-1].captions.append(row["text"])
    return images


def read(path: Path, split: str) -> list[Image]:
    """The images of one split of the table in a file, as `images_of` has them; `DataError` as `read_table`."""
    return images_of(read_table(path), split)


def read_table(path: Path) -> pa.Table:
    """The whole table, as `write` wrote it. `DataError` where it is missing or has changed since."""
    record = path.with_name(_RECORD)
    if not path.is_file():
        raise _wrong(path, "no such file")
    if (wanted := intact.read_sealed(record).get(_SHA256)) is None:
        raise DataError.damaged(record, f"it has no {_SHA256}")
    intact.check(path.parent, {path.name: wanted})
    return _table(path)


def read_published(path: Path) -> pa.Table:
    """A table that someone else has made, without splits.json. `DataError` where it cannot be read or is no caption table."""
    return _table(path)


def _table(path: Path) -> pa.Table:
    try:
        table = read_parquet(path, SCHEMA)
    # A changed size may be any.
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise _wrong(path, f"cannot be read ({error})") from error
    for name in SCHEMA.names:
        if name != "file_name" and table[name].null_count:
            raise _wrong(path, f"{name} is missing in {table[name].null_count} rows")
    rows = {split: rows_of(table, split) for split in SPLITS}
    if sum(map(len, rows.values())) != len(table):
        raise _wrong(path, f"it has rows of other splits than {', '.join(SPLITS)}")
    for split, of_split in rows.items():
        position = np.from_dlpack(of_split["position"].combine_chunks())
        image_id = np.from_dlpack(of_split["image_id"].combine_chunks())
        step = np.diff(position, prepend=-1)
        if not len(position) or step[0] != 1 or not np.isin(step, (0, 1)).all():
            raise _wrong(path, f"the images of {split} are not in the order of their positions, from 0")
        if (np.diff(image_id)[step[1:] == 0] != 0).any():
            raise _wrong(path, f"two images of {split} have one position")
    return table


def _wrong(path: Path, found: str) -> DataError:
    return DataError.at(path, found, "a caption table", do="Run: dvc repro")
