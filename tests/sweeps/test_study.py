"""A study's trials: which are tried, who has them, which the pruner ends. With Optuna itself, and without any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import ConfigError
from itrcore.runs.trials import Trained
from itrcore.settings.load import load
from itrcore.settings.sweeps import Sweep, SweepSettings
from itrcore.sweeps.space import planned
from itrcore.sweeps.study import Study, find_study, open_study
from tests.support import small_experiment

SEARCH = {
    "recipe.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "recipe.batch_size": [8, 16],
    "loss.margin": {"low": 0.1, "high": 0.3, "step": 0.1},
}
NO_PRUNING = {"kind": "none"}
RECORD: dict[str, Any] = {"code": {"itrcore.one": "a"}, "settings": {}, "data": {}}
Make = Callable[..., Sweep]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    small_experiment.write(tmp_path)
    monkeypatch.chdir(tmp_path)

    def make(search: Any = SEARCH, sampler: str = "random", trials: int | None = 4, prune: Any = NO_PRUNING) -> Sweep:
        settings = SweepSettings.model_validate(
            {"run": "one", "search": search, "sampler": sampler, "trials": trials, "prune": prune}
        )
        return Sweep("rates", settings, load())

    return make


def begun(sweep: Sweep) -> Study:
    study = open_study(sweep, RECORD)
    study.plan(planned(sweep))
    return study


def trained(rsum: float) -> Trained:
    return Trained(rsum, 2, 1.0, [(1, rsum / 2), (2, rsum)])


def test_a_grid_has_each_combination_once(sweep: Make) -> None:
    search = {key: SEARCH[key] for key in ("recipe.batch_size", "loss.margin")}
    study = begun(sweep(search, "grid", None))
    found = [(trial.values["recipe.batch_size"], trial.values["loss.margin"]) for trial in study.trials()]
    assert found == [(size, margin) for size in (8, 16) for margin in (0.1, 0.2, 0.3)]


def test_a_random_search_has_the_same_trials_again_and_more_trials_come_after_them(sweep: Make) -> None:
    study = begun(sweep(trials=4))
    first = [trial.values for trial in study.trials()]
    study.plan(planned(sweep(trials=8)))
    more = [trial.values for trial in study.trials()]
    assert more[:4] == first and len({tuple(values.values()) for values in more}) == 8
    assert all(1e-4 <= values["recipe.learning_rate"] <= 1e-2 for values in more)
    assert {values["loss.margin"] for values in more} == {0.1, 0.2, 0.3}  # exactly, not 0.30000000000000004
    study.plan(planned(sweep(trials=4)))
    taken = [study.take(4) for _ in range(5)]
    assert len(study.trials()) == 8 and taken[3] is not None and taken[4] is None


def test_a_random_search_does_not_try_more_than_there_is(sweep: Make) -> None:
    with pytest.raises(ConfigError, match="there are 2 combinations, fewer than 3 trials; use sampler: grid"):
        planned(sweep({"recipe.batch_size": [8, 16]}, trials=3))


def test_two_processes_share_the_trials_and_one_that_was_killed_is_taken_up_with_what_it_had(sweep: Make) -> None:
    mine, other = begun(sweep(trials=3)), begun(sweep(trials=3))
    first, second = mine.take(3), other.take(3)
    assert first is not None and second is not None
    assert (first.number, second.number) == (1, 2)
    first.keep(1, trained(200.0))
    assert first.goes_on([(1, 100.0)])
    assert [trial.state for trial in mine.trials()] == ["going on", "going on", "waiting"]
    first.release()  # as the system does when the process is killed
    assert [trial.state for trial in mine.trials()] == ["stopped", "going on", "waiting"]
    again = other.take(3)
    assert again is not None and again.number == 1 and again.values == first.values
    assert again.trained == {1: trained(200.0)}
    again.goes_on(
        [(1, 100.0), (1.5, 120.0), (2, 200.0)]
    )  # what was told is not told twice; parts of an epoch do not count
    again.end("finished")
    again.release()
    third = mine.take(3)
    assert third is not None and third.number == 3 and mine.take(3) is None
    known = mine.trials()[0]
    assert (known.state, known.rsum, known.curve) == ("finished", 200.0, [(1, 100.0), (2, 200.0)])
    assert len(mine.trials()) == 3


def test_tpe_chooses_as_it_would_have_without_a_break(sweep: Make) -> None:
    wanted = 13  # the first ten are draws

    def values(name: str, breaks: bool) -> list[Any]:
        study = open_study(Sweep(name, sweep(sampler="tpe", trials=wanted).settings, load()), RECORD)
        for _ in range(wanted):
            held = study.take(wanted)
            assert held is not None
            if breaks:  # another process takes it up
                held.release()
                held = study.take(wanted)
                assert held is not None
            held.keep(1, trained(100 * held.values["loss.margin"]))
            held.end("finished")
            held.release()
        assert study.take(wanted) is None
        return [trial.values for trial in study.trials()]

    assert values("with", breaks=True) == values("without", breaks=False)


def ended(study: Study, trials: int, rsum: float) -> list[int | None]:
    """Train so many trials of four epochs whose rsum grows by this much each epoch; when each was ended."""
    epochs = list[int | None]()
    for _ in range(trials):
        held = study.take(100)
        assert held is not None
        curve = [(epoch, rsum * epoch) for epoch in range(1, 5)]
        stop = next((epoch for epoch in range(1, 5) if not held.goes_on(curve[:epoch])), None)
        if stop is None:
            held.keep(1, trained(4 * rsum))
        held.end("finished" if stop is None else "pruned")
        held.release()
        epochs.append(stop)
    return epochs


@pytest.mark.parametrize(
    ("settings", "epoch"),
    [
        ({"kind": "median", "after_epochs": 2, "after_trials": 2}, 2),
        ({"kind": "median", "after_epochs": 1, "after_trials": 5}, None),
        (NO_PRUNING, None),
    ],
)
def test_a_hopeless_trial_is_ended_at_the_first_epoch_that_is_compared(
    settings: Any, epoch: int | None, sweep: Make
) -> None:
    study = begun(sweep(trials=4, prune=settings))
    assert ended(study, 3, 100.0) == [None, None, None] and ended(study, 1, 10.0) == [epoch]
    last = study.trials()[3]
    assert (last.state, last.epoch) == (("finished", None) if epoch is None else ("pruned", epoch))
    best = study.best()
    assert best is not None and best.number == 1


def test_hyperband_ends_hopeless_trials_as_well(sweep: Make) -> None:
    study = begun(sweep(trials=10, prune={"kind": "hyperband", "min_epochs": 1, "factor": 2}))
    assert ended(study, 5, 100.0) == [None] * 5
    assert {1, 2} & {*ended(study, 5, 10.0)}  # the bracket says when


def test_trials_of_other_code_are_not_mixed_with_new_ones(sweep: Make) -> None:
    study = begun(sweep())
    changed = {**RECORD, "code": {"itrcore.one": "b"}}
    with pytest.raises(ConfigError, match=r"not mixed .*itrcore/one.py has changed.*itr sweep rates --anew"):
        open_study(sweep(), changed)
    anew = open_study(sweep(), changed, anew=True)
    assert anew.name != study.name and not anew.trials()
    assert open_study(sweep(), RECORD).name == study.name  # taken back, it goes on with the old ones
    looked_at = find_study(sweep())
    assert looked_at is not None and looked_at.name == anew.name and not looked_at.ours  # no data set here: the newest
