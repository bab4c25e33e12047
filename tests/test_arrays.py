"""Bytes for Arrow: what reads tables must not lend it memory of Python's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from itrcore.arrays import arrow_buffer
from itrcore.data import captions
from itrcore.data.shards.regions import FeatureStore
from tests.support.tiny_project import prepared


def test_bytes_for_arrow_lie_in_its_own_memory() -> None:
    """A thread of Arrow's that lets go of Python's last, while Python ends, aborts the process: about 1 run of 40."""
    before = pa.total_allocated_bytes()
    buffer = arrow_buffer(b"ab" * 50_000)
    assert buffer.to_pybytes() == b"ab" * 50_000
    assert pa.total_allocated_bytes() - before >= 100_000
    assert arrow_buffer(b"").to_pybytes() == b""


def test_tables_are_read_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = []
    for name in ("py_buffer", "BufferReader"):
        original = getattr(pa, name)
        monkeypatch.setattr(pa, name, lambda data, original=original: lent.append(type(data)) or original(data))
    data = prepared() / "data" / "tiny"
    assert captions.read(data / "captions.parquet", "test")
    assert FeatureStore(data / "shards" / "regions", "test").image_ids
    assert set(lent) <= {pa.Buffer}, lent
