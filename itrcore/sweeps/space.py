"""What a sweep tries: all combinations of a grid, or draws; and its settings as Optuna's."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from typing import Any

import optuna

from itrcore.errors import ConfigError
from itrcore.settings.sweeps import HyperbandPruning, MedianPruning, RangeSettings, Sweep, Values, check

optuna.logging.set_verbosity(optuna.logging.WARNING)

_SEED = 0  # of the draws: the same sweep always has the same ones, in the same order


def planned(sweep: Sweep) -> list[Values] | None:
    """Its trials, where they are known before anything is trained; None for TPE, which chooses by what it has seen.

    With more trials a random search has the same ones first. `ConfigError` where the method does not take a trial's values, or
    there are fewer combinations than trials.
    """
    search, wanted = sweep.settings.search, sweep.settings.trials
    lists = [space.values if isinstance(space, RangeSettings) else space for space in search.values()]
    if sweep.settings.sampler == "tpe":
        check(sweep, sweep.single_changes())
        return None
    if wanted is None:
        known = [each for each in lists if each is not None]  # all of them, in a grid
        trials: list[Values] = [dict(zip(search, values, strict=True)) for values in itertools.product(*known)]
    else:
        combinations = math.prod(math.inf if values is None else len(values) for values in lists)
        if combinations < wanted:
            raise ConfigError(
                f"sweep {sweep.name}: there are {combinations} combinations, fewer than {wanted} trials; use sampler: grid"
            )
        trials = _drawn(sweep, wanted)
    check(sweep, trials)
    return trials


def _drawn(sweep: Sweep, wanted: int) -> list[Values]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_SEED))
    trials: list[Values] = []
    while len(trials) < wanted:
        values = suggested(study.ask(), sweep)
        if values not in trials:
            trials.append(values)
    return trials


def suggested(trial: optuna.Trial, sweep: Sweep) -> Values:
    """The values of a trial: chosen now, or those that it has already."""
    return {path: _suggest(trial, path, space) for path, space in sweep.settings.search.items()}


def _suggest(trial: optuna.Trial, path: str, space: RangeSettings | list[Any]) -> Any:
    if not isinstance(space, RangeSettings):
        values = {_name(value): value for value in space}
        return values[trial.suggest_categorical(path, list(values))]
    if space.whole:
        step = int(space.step or 1)
        return trial.suggest_int(
            path, int(space.low), int((space.values or [space.high])[-1]), step=step, log=space.log
        )
    high = space.high if space.values is None else space.values[-1]  # Optuna would warn of one that no step reaches
    return _listed(trial.suggest_float(path, space.low, high, step=space.step, log=space.log), space)


def _listed(value: Any, space: RangeSettings) -> Any:
    """Optuna adds steps of 0.05 up to 0.15000000000000002."""
    return value if space.values is None else min(space.values, key=lambda listed: abs(listed - value))


def stored(values: Values, sweep: Sweep) -> dict[str, Any]:
    """A trial's values as Optuna keeps them."""
    ranges = {path for path, space in sweep.settings.search.items() if isinstance(space, RangeSettings)}
    return {path: value if path in ranges else _name(value) for path, value in values.items()}


def restored(kept: Values, sweep: Sweep) -> dict[str, Any]:
    """A trial's values, of what Optuna keeps, in the order of the sweep's file."""
    values = dict[str, Any]()
    for path, space in sweep.settings.search.items():
        if path in kept:
            if isinstance(space, RangeSettings):
                values[path] = _listed(kept[path], space)
            else:
                values[path] = next(value for value in space if _name(value) == kept[path])
    return values


def _name(value: Any) -> str:
    """A value of a list as Optuna keeps it: it may be a list or a mapping itself."""
    return json.dumps(value)


def pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    """Optuna's. Its steps are epochs."""
    settings = sweep.settings.prune
    if isinstance(settings, MedianPruning):
        return optuna.pruners.MedianPruner(settings.after_trials, settings.after_epochs)
    if isinstance(settings, HyperbandPruning):
        longest = max(params.method_of(sweep.name).recipe.epochs for params in sweep.variants())
        return optuna.pruners.HyperbandPruner(settings.min_epochs, longest, settings.factor)
    return optuna.pruners.NopPruner()


def sampler(sweep: Sweep, done: int) -> optuna.samplers.BaseSampler:
    """What chooses the next trial's values, where they are not planned. done: trials before it"""
    if sweep.settings.sampler != "tpe":
        return optuna.samplers.RandomSampler(seed=_SEED)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        # Seeded anew for each trial: one that goes on after a kill chooses what it would have chosen. constant_liar: trials that
        # others train now count as bad, so that nobody tries the same.
        return optuna.samplers.TPESampler(seed=_SEED + done, constant_liar=True)
