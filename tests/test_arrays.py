"""A file's bytes for Arrow: what reads tables must not lend it memory of Python's."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from itrcore.arrays import read_buffer
from itrcore.data import captions
from itrcore.data.shards.regions import FeatureStore
from tests.support.tiny_project import prepared


def test_a_files_bytes_lie_in_arrows_own_memory(tmp_path: Path) -> None:
    """A thread of Arrow's that lets go of Python's last, while Python ends, aborts the process: about 1 run of 40."""
    (tmp_path / "a").write_bytes(b"ab" * 50_000)
    before = pa.total_allocated_bytes()
    buffer = read_buffer(tmp_path / "a", 10**6)
    assert buffer.to_pybytes() == b"ab" * 50_000
    assert pa.total_allocated_bytes() - before >= 100_000
    (tmp_path / "a").write_bytes(b"")
    assert read_buffer(tmp_path / "a", 10**6).to_pybytes() == b""


def test_tables_are_read_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lent = []
    for name in ("py_buffer", "BufferReader"):
        original = getattr(pa, name)
        monkeypatch.setattr(pa, name, lambda data, original=original: lent.append(type(data)) or original(data))
    data = prepared() / "data" / "tiny"
    assert captions.read(data / "captions.parquet", "test")
    assert FeatureStore(data / "shards" / "regions", "test").image_ids
    assert set(lent) <= {pa.Buffer}, lent
