"""The similarity benchmark at a tiny size: both ways compute the same, a wrong result is noticed, figures are there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import released_similarity, similarity
from benchmarks.operations import watch
from benchmarks.similarity_methods import METHODS, PARTS, Sizes, parts
from itrcore.data.feeding.random_captions import F30K_IDS, WORDS, captions
from itrcore.files import read_json

TINY = ("--images", "6", "--captions", "9", "--regions", "3", "--dim", "16", "--rounds", "3", "--threads", "1")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in METHODS:
        promise(monkeypatch, name, 0.0)  # how fast so small a block is says nothing
    monkeypatch.setattr(similarity, "PEAK_SIDE", 64)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def promise(monkeypatch: pytest.MonkeyPatch, name: str, at_least: float) -> None:
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], at_least=at_least))


def run(path: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(path), *options])
    return similarity.main(), read_json(path)


def test_every_method_is_measured_both_ways_and_both_compute_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, written = run(tmp_path / "out.json", monkeypatch, *TINY)
    assert code == 0
    assert set(written) == {"esl", "sgr", "saf", "lhsc", "scan_t2i", "scan_i2t"}
    for result in written.values():
        assert result["ratio"] == sorted(result["ratios"])[1]
        assert result["seconds"] > 0 and result["released_seconds"] > 0
        assert result["share_of_peak"] > 0  # so small, and beside other work, the peak itself is noisy
        assert result["max_abs_diff"] < 1e-5
        assert result["promise"]["kept"]
        assert result["parts"]["attention scores"] > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_way_that_computes_something_else_is_told_from_a_faster_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = released_similarity.unit
    monkeypatch.setattr(released_similarity, "unit", lambda x: 1.01 * unit(x))  # attention a little sharper
    code, written = run(tmp_path / "out.json", monkeypatch, "--methods", name, *TINY)
    assert code == 1
    assert written[name]["max_abs_diff"] > 1e-5
    assert not written[name]["promise"]["kept"]
    assert "NOT THE SAME" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "measure", "too_much"), [("saf", "share_of_peak", 1.0), ("scan_t2i", "ratio", 1e9), ("esl", "ratio", 1e9)]
)
def test_a_method_that_breaks_its_own_promise_fails(
    name: str, measure: str, too_much: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(monkeypatch, name, too_much)
    code, written = run(tmp_path / "out.json", monkeypatch, "--methods", name, *TINY)
    assert code == 1
    assert written[name]["promise"] == {"measure": measure, "at_least": too_much, "kept": False}


def test_a_whole_split_is_measured_alone_and_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bytearray(2_000_000_000)  # by this process, which starts the other
    code, written = run(tmp_path / "out.json", monkeypatch, "--full", "--methods", "scan_t2i", *TINY)
    del held
    assert code == 0
    assert set(written["scan_t2i"]) == {"seconds", "peak_gb"}
    assert 0.1 < written["scan_t2i"]["peak_gb"] < 1.5


def test_multiply_adds_are_those_that_the_method_needs() -> None:
    n, m, r, d, size = 20, 60, 4, 32, 256
    case = METHODS["saf"].make(Sizes(n, m, r, d), torch.device("cpu"))
    with torch.inference_mode():
        multiply_adds = watch(case.ours, case.model).multiply_adds
    lengths = [len(caption.ids) for caption in captions(m, F30K_IDS, WORDS, np.random.default_rng(0))]
    words, pairs = n * sum(lengths), n * m
    attention = words * (d * r + r * r + r * d) + n * r * r * d
    projections = (words + pairs) * d * size
    pooling = (words + pairs) * 2 * size + pairs * size
    needed = attention + projections + pooling
    assert needed <= multiply_adds <= 1.1 * needed  # rows are padded to a number that suits the processor


def test_every_product_has_a_name_and_every_name_is_of_something() -> None:
    seen: set[str] = set()
    with torch.inference_mode():
        for method in METHODS.values():
            case = method.make(Sizes(6, 9, 3, 16), torch.device("cpu"))
            seen |= set(watch(case.ours, case.model).seconds)
    assert not set(parts(dict.fromkeys(seen, 1.0))) - {*PARTS.values(), "copies"}
    assert not [fragment for fragment in PARTS if not any(fragment in where for where in seen)]
