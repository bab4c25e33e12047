"""What a Parquet file says of itself is looked at before Arrow acts by it; no damage ends the process."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.thrift import read_struct


@pytest.fixture(scope="module")
def whole() -> bytes:
    n = 200
    texts = [f"a man rides horse {i}" for i in range(n)]
    columns = [range(n), texts, ["train"] * n, range(n), range(n), texts]
    table = pa.table(
        [pa.array(list(c), f.type) for c, f in zip(columns, captions.SCHEMA, strict=True)], captions.SCHEMA
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=70)
    return buffer.getvalue()


def test_a_footer_says_what_arrow_says(whole: bytes) -> None:
    meta = pq.ParquetFile(io.BytesIO(whole)).metadata
    length = int.from_bytes(whole[-8:-4], "little")
    footer = read_struct(whole[-8 - length : -8])
    assert footer[3] == meta.num_rows and [group[3] for group in footer[4]] == [70, 70, 60]
    for number, group in enumerate(footer[4]):
        for at, column in enumerate(group[1]):
            known = meta.row_group(number).column(at)
            assert [part.decode() for part in column[3][3]] == [known.path_in_schema]
            assert column[3][6] == known.total_uncompressed_size
            assert {0: "UNCOMPRESSED", 1: "SNAPPY"}[column[3][4]] == known.compression


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 50, b"\x1c" * 5000, b"\x19\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x18\x7f"]
)
def test_bytes_that_are_no_struct_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_struct(data)


def test_any_damage_is_an_error_of_ours_or_harmless(whole: bytes, tmp_path: Path) -> None:
    rng, path, refused = random.Random(2), tmp_path / "captions.parquet", 0
    for number in range(300):
        data = bytearray(whole)
        start = len(data) - int.from_bytes(whole[-8:-4], "little") if number % 3 else 0  # mostly in the footer
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(start, len(data))
            data[at] = rng.choice([data[at] ^ 1 << rng.randrange(8), 0, 127, 128, 255])
        path.write_bytes(data)
        try:
            captions.images_of(captions.read_table(path), "train")
        except DataError:
            refused += 1
    assert refused > 100
