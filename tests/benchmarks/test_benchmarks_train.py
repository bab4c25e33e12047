"""The training-step and encoding benchmarks at a tiny size: what they compare is the same, what they write is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import encoding, train_step
from itrcore.files import read_json
from itrcore.layers.losses.triplet import self_expanding_triplet


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(benchmark: Any, path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(path), *options])
    return benchmark.main(), read_json(path)


def step(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    return run(train_step, path, monkeypatch, "--batch", "4", "--dim", "8", "--rounds", "3")


def test_a_training_step_is_measured_both_ways_and_both_compute_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_step, "NOISE", 1.0)  # how fast so small a step is says nothing
    code, written = step(tmp_path / "out.json", monkeypatch)
    assert code == 0
    assert {"ours", "released"} <= set(written["ways"])
    assert all(way["images_per_s"] == pytest.approx(4 / way["step_seconds"]) for way in written["ways"].values())
    assert len(written["ratios"]) == 3
    assert written["ratio"] == sorted(written["ratios"])[1]
    assert ("not measured" in capsys.readouterr().out) == (not torch.cuda.is_available())


def test_a_training_step_that_computes_something_else_is_told_from_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_step, "NOISE", 1.0)
    monkeypatch.setattr(
        "itrcore.layers.losses.triplet.self_expanding_triplet", lambda *given: 1.01 * self_expanding_triplet(*given)
    )
    code, _ = step(tmp_path / "out.json", monkeypatch)
    assert code == 1
    assert "NOT THE SAME" in capsys.readouterr().out


def test_encoding_is_measured_for_each_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, written = run(encoding, tmp_path / "out.json", monkeypatch, "--images", "2", "--methods", "esa_bigru")
    assert code == 0
    one = written["esa_bigru"]
    assert one["seconds"] == pytest.approx(2 / one["images_per_s"] + 10 / one["captions_per_s"])
    assert "esa_bert" not in written
