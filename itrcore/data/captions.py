"""The caption table of a data set: one Parquet row per caption, the same whatever the source was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itrcore.errors import DataError
from itrcore.files import replacing
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


def write(table: pa.Table, path: Path) -> None:
    """Write the table as Parquet, atomically."""
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


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
    """The whole table. `DataError` where it is missing or damaged."""
    try:
        table = read_parquet(path, SCHEMA)
        for name in SCHEMA.names:
            if name != "file_name" and table[name].null_count:
                raise ValueError(f"{name} is missing in {table[name].null_count} rows")
        return table
    except (OSError, KeyError, ValueError, MemoryError, pa.ArrowException) as error:
        raise DataError.at(path, f"cannot be read ({error})", "the caption table", do="Run: dvc repro") from error
