"""What is still to do: sizes of data sets, groups of runs, and what is done and up to date."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from itrcore.costs.counts import Shape, SplitCounts, counts, shape
from itrcore.costs.plan import groups
from itrcore.evaluation.evaluate import evaluate
from itrcore.settings.load import load
from stages import judge
from tests.support.tiny_project import ROOT, project, train_in, write_params


@pytest.mark.parametrize(
    ("experiment", "data", "wanted"),
    [
        (".", "scenes", [(800, 4000), (150, 750), (150, 750)]),
        ("experiments/f30k", "f30k", [(29_000, 145_000), (1_014, 5_070), (1_000, 5_000)]),
        ("experiments/coco", "coco", [(113_287, 566_435), (5_000, 25_000), (5_000, 25_000)]),
        ("experiments/f30k-simulated", "f30k-simulated", [(3_000, 15_000), (1_014, 5_070), (1_000, 5_000)]),
    ],
)
def test_sizes_are_known_before_anything_is_prepared(
    experiment: str, data: str, wanted: list[tuple[int, int]], tmp_path: Path, monkeypatch: Any
) -> None:
    dataset = load(ROOT / experiment / "params.yaml").dataset(data)
    monkeypatch.chdir(tmp_path)  # where no data is
    found = counts(data, dataset)
    assert found is not None
    assert [(split.images, split.captions) for split in found.values()] == wanted


def test_a_data_set_of_ones_own_is_known_once_it_is_prepared(tmp_path: Path, monkeypatch: Any) -> None:
    dataset = load(ROOT / "experiments/f30k/params.yaml").dataset("f30k").model_copy(update={"benchmark": None})
    monkeypatch.chdir(tmp_path)
    assert counts("tiny", dataset) is None
    project(tmp_path)
    assert counts("tiny", dataset) == {
        "train": SplitCounts(24, 120),
        "dev": SplitCounts(8, 40),
        "test": SplitCounts(8, 40),
    }
    assert shape("tiny", dataset) == Shape(36, 16, (500, 375))  # the width of its shards


def test_runs_of_one_group_differ_in_their_seed_alone_and_what_is_up_to_date_is_done(tmp_path: Path) -> None:
    runs = {f"one-{seed}": {"data": "tiny", "method": "esa", "seed": seed} for seed in (1, 2, 3)}
    changes = {"runs": {**runs, "two": {"data": "tiny", "method": "gpo", "seed": 1}}, "ensembles": {}}
    project(tmp_path, changes)
    for name in ("one-1", "one-2"):
        train_in(tmp_path, name)
    with contextlib.chdir(tmp_path):
        params = load()
        evaluate(params, "one-1")
        judge.main(params, "one-1")
        same, other = groups(params)
    assert same.names == ("one-1", "one-2", "one-3")
    assert (same.to_train, same.to_evaluate) == (("one-3",), ("one-2", "one-3"))
    assert same.steps == 120 // 8 * 3
    assert same.n_tokens == 137  # of this data set's captions, and the mask
    assert other.names == other.to_train == other.to_evaluate == ("two",)
    write_params(tmp_path, {**changes, "methods.esa.recipe.learning_rate": 1e-3})
    with contextlib.chdir(tmp_path):
        assert groups(load())[0].to_train == same.names
