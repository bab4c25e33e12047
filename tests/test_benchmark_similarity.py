"""The similarity benchmark at a tiny size: both ways compute the same, another result is found out, figures are there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import similarity, similarity_methods
from itrcore.files import read_json
from itrcore.models.word_region import product

TINY = ("--images", "6", "--captions", "9", "--regions", "3", "--dim", "16", "--rounds", "3", "--threads", "1")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(similarity, "LIMIT_RATIO", 0.0)  # how fast so small a block is says nothing
    monkeypatch.setattr(similarity, "PEAK_SIDE", 64)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(path), *options])
    return similarity.main(), read_json(path)


def test_every_method_is_measured_both_ways_and_both_compute_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, written = run(tmp_path / "out.json", monkeypatch, *TINY)
    assert code == 0
    assert set(written) == set(similarity_methods.METHODS)
    for result in written.values():
        assert result["ratio"] == sorted(result["ratios"])[1]
        assert result["seconds"] > 0 and result["released_seconds"] > 0
        assert 0 < result["share_of_peak"] < 1
        assert result["max_abs_diff"] < 1e-5


def test_a_way_that_computes_something_else_is_told_from_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("itrcore.models.word_region.product", lambda a, b: 1.01 * product(a, b))
    code, written = run(tmp_path / "out.json", monkeypatch, *TINY)
    assert code == 1
    assert written["esl"]["max_abs_diff"] > 1e-5
    assert "NOT THE SAME" in capsys.readouterr().out


def test_a_slower_way_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "LIMIT_RATIO", 1e9)
    assert run(tmp_path / "out.json", monkeypatch, *TINY)[0] == 1


def test_a_whole_split_is_measured_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_methods, "released_esl", None)
    code, written = run(tmp_path / "out.json", monkeypatch, "--full", *TINY)
    assert code == 0
    assert set(written["esl"]) == {"seconds", "peak_gb"}
    assert 0.1 < written["esl"]["peak_gb"] < 20
