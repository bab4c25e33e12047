"""What a sweep's file may say: each mistake is one clear line, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from itrcore.errors import ConfigError
from itrcore.settings import sweeps
from itrcore.settings.load import load
from tests.support import small_experiment

RANDOM = {
    "run": "one",
    "search": {"recipe.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "loss.margin": [0.1, 0.2]},
    "sampler": "random",
    "trials": 4,
}


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sweep of a file of this content, beside the small experiment."""
    small_experiment.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def read(**content: Any) -> sweeps.Sweep:
        with open(tmp_path / "sweeps" / "rates.yaml", "w", encoding="utf-8") as handle:
            YAML(typ="safe", pure=True).dump({**RANDOM, **content}, handle)
        return sweeps.read(load(), "rates")

    return read


def test_a_trial_changes_its_run_and_nothing_else(read: Any) -> None:
    sweep = read()
    changed = sweep.with_run("new", {"recipe.learning_rate": 0.5, "model.pooling.hidden_dim": 6}, 7)
    assert changed.run("new").seed == 7
    method, of_run = changed.method_of("new"), sweep.params.method_of("one")
    assert (method.recipe.learning_rate, method.model.pooling.hidden_dim) == (0.5, 6)
    assert method.recipe.epochs == of_run.recipe.epochs == 4  # of the run's own profile, which is not lost
    assert changed.method_of("one") == of_run


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": "onne"}, "run: no 'onne' in runs of params.yaml; did you mean 'one'?"),
        ({"serch": {}}, "unknown key 'serch'; did you mean 'search'?"),
        ({"search": {"recipe.lerning_rate": [1, 2]}}, "no 'lerning_rate' in recipe; did you mean 'learning_rate'?"),
        ({"search": {"optimiser.betas": [1, 2]}}, "no 'optimiser' in a method's settings"),
        ({"search": {"recipe.epochs.first": [1, 2]}}, "recipe.epochs is 4, and has no first"),
        ({"search": {"recipe.batch_size": {"low": 9, "high": 8}}}, "low must be below high, not 9 and 8"),
        ({"search": {"recipe.batch_size": {"low": 0, "high": 8, "log": True}}}, "log needs a low above 0, not 0"),
        ({"search": {"loss.margin": {"low": 0.1, "high": 1, "step": 0.1, "log": True}}}, "step and log exclude"),
        ({"search": {"loss.margin": [0.1]}}, "search.loss.margin: List should have at least 2 items"),
        ({"search": {"loss.margin": [0.1, 0.1]}}, "search.loss.margin: a value is listed twice"),
        ({"search": {"model": [{}, {"dim": 4}], "model.dim": [4, 8]}}, "search.model.dim is a part of search.model"),
        ({"sampler": "grid", "trials": None}, "search.recipe.learning_rate: a grid needs a list of values, or a range"),
        ({"sampler": "grid"}, "a grid has a trial for each combination; remove trials"),
        ({"trials": None}, "random needs trials, such as trials: 20"),
        ({"seeds": [1, 1]}, "a seed is listed twice"),
        ({"prune": {"kind": "medain"}}, "prune: unknown kind 'medain'; did you mean 'median'?"),
    ],
)
def test_each_mistake_is_told_with_its_key(changes: dict[str, Any], said: str, read: Any) -> None:
    with pytest.raises(ConfigError) as error:
        read(**changes)
    (line,) = str(error.value).splitlines()
    assert line.startswith("sweeps/rates.yaml: ") and said in line, line


def test_a_run_without_training_cannot_be_swept(read: Any, tmp_path: Path) -> None:
    content = small_experiment.plain()
    content["runs"]["one"] = small_experiment.IMPORTED
    small_experiment.write(tmp_path, content)
    with pytest.raises(ConfigError, match="one is not trained here"):
        read()


def test_values_that_the_method_does_not_take_are_told_with_the_trial_that_has_them(read: Any) -> None:
    sweep = read()
    with pytest.raises(ConfigError) as error:
        sweeps.check(sweep, [{"recipe.batch_size": 8}, {"recipe.batch_size": 1, "recipe.epochs": 2}])
    told = str(error.value).splitlines()
    assert all(
        line.startswith("sweeps/rates.yaml: search, with recipe.batch_size 1, recipe.epochs 2: ") for line in told
    )
    assert "batch_size: Input should be greater than or equal to 2, not 1" in told[0]


def test_ranges_list_their_values_exactly() -> None:
    steps = sweeps.RangeSettings(low=0.1, high=0.32, step=0.05)
    assert steps.values == [0.1, 0.15, 0.2, 0.25, 0.3]
    assert sweeps.RangeSettings(low=2, high=5).values == [2, 3, 4, 5]
    assert sweeps.RangeSettings(low=2, high=9, log=True).values is sweeps.RangeSettings(low=0.5, high=1).values is None
