"""The three answers that the report begins with: what is best, by how much beyond noise, at what cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from itrcore.report.answers import Answer, Cost, answer
from itrcore.report.leaderboard import rows
from itrcore.report.results import collect
from tests.support.report_data import efficiency, evaluation, put_ensemble, put_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ensembles, one with a member that is not configured; a weak model, and two seeds of one near the best."""
    root = tmp_path_factory.mktemp("results")
    timed = efficiency(True, 0.5)
    put_run(root, evaluation("weak-1", "toy", "weak", 1, 20.0, encode_caption_ms=1.0, efficiency=timed))
    for seed, r1 in ((1, 40.0), (2, 40.6)):
        costs = {"encode_caption_ms": float(seed), "train_seconds": 10.0 * seed}
        put_run(root, evaluation(f"near-{seed}", "toy", "near", seed, r1, **costs, efficiency=timed))
    for name, r1, members in (("both", 40.67, ["weak-1", "near-1"]), ("gone", 40.0, ["weak-1", "not-configured"])):
        alone = {"profile": None, "train_seconds": None, "encode_caption_ms": None, "score_caption_ms": None}
        put_ensemble(root, evaluation(name, "toy", None, None, r1, members=members, parameters=4_200_000, **alone))
    return root


def answered(root: Path, runs: list[str], ensembles: list[str]) -> Answer:
    results = collect(root, dict.fromkeys(runs, "toy"), dict.fromkeys(ensembles, "toy"))
    return answer(results, "toy", rows(results, "toy"), 1_000)


def test_the_best_row_is_beside_the_next_that_is_told_apart_and_the_fastest_that_is_not(root: Path) -> None:
    found = answered(root, ["weak-1", "near-1", "near-2"], ["both", "gone"])
    assert (found.best.name, found.cheapest.name) == ("both", "near/small")
    assert {row.name for row in found.near} == {"near/small", "gone"}
    assert found.ahead_of is not None and found.ahead_of.name == "weak/small"
    assert found.ahead_of.values["to_best"].mean == pytest.approx(-6 * 20.67)
    low, high = found.ahead_of.noise.interval["to_best"]
    assert low < -6 * 20.67 < high < 0


def test_an_ensemble_costs_what_its_members_cost_and_seeds_their_mean(root: Path) -> None:
    cost = answered(root, ["weak-1", "near-1", "near-2"], ["both", "gone"]).cost
    assert cost["near/small"] == Cost(2_100_000, 15.0, pytest.approx(2.0), True)
    assert cost["both"] == Cost(4_200_000, pytest.approx(22.3), pytest.approx(1.5 + 1.5), True)
    assert cost["gone"] == Cost(4_200_000, None, None, True)  # a member that is not configured any more


def test_one_row_alone_is_the_best_of_nothing(root: Path) -> None:
    found = answered(root, ["weak-1"], [])
    assert (found.best.name, found.ahead_of, found.near, found.cheapest) == ("weak/small", None, (), found.best)
