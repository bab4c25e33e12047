"""A server with the shards that a pipeline leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from itrcore.fetch import download as downloads
from tests.support.fetch_server import Served, Server, serving
from tests.support.scan_data import write_scan_folder, write_shards


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`captions.parquet` and `shards/` as a pipeline leaves them: 30 images in shards of 7."""
    path = tmp_path_factory.mktemp("published")
    scan_folder = write_scan_folder(path / "scan", {"train": 30, "dev": 3, "test": 3}, 2, (9, 64))
    write_shards(scan_folder, path, "float16", per_shard=7)
    return path


@pytest.fixture
def server(local: Path) -> Iterator[Server]:
    with serving() as running:
        running.files["f30k/captions.parquet"] = Served((local / "captions.parquet").read_bytes())
        for path in (local / "shards").iterdir():
            running.files[f"f30k/shards/regions/{path.name}"] = Served(path.read_bytes())
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAIT", 0.01)
