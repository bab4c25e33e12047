"""The benchmark of pictures at a tiny size: both ways make the same pictures, and what it measures is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import pictures
from itrcore.data.feeding import pixels
from itrcore.files import read_json


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_each_way_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--pictures", "4", "--batch", "2", "--seconds", "0.01", "--rounds", "1", "--inputs", "clip"]
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(tmp_path / "out.json"), *options])
    assert pictures.main() == 0
    written = read_json(tmp_path / "out.json")
    found, speeds = written["clip"], written["clip"]["pictures_per_s"]
    assert 100 < written["kb"] < 180  # as Flickr30K's
    assert found["kb_crossing"] == 3 * 224 * 224 / 1000
    assert found["ratio"] == pytest.approx(speeds["ours, threads: 2"] / speeds["plain, processes: 2"])
    assert speeds["held"] > speeds["ours, threads: 1"]
    assert found["whole_ms"]["ours"] > found["ms"]["decoding"] > found["ms"]["reading"] > 0


def test_other_pictures_are_told_from_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, inputs, frame = pictures.make(tmp_path, 4), pictures.inputs(), pixels.frame
    assert all(pictures.same(store, tmp_path, given) for given in inputs.values())
    monkeypatch.setattr(pixels, "frame", lambda picture, given: frame(picture, given).roll(1, -1))
    assert not any(pictures.same(store, tmp_path, given) for given in inputs.values())
