"""What a sweep's file, `sweeps/<name>.yaml`, may say: which settings of a run vary, how trials are chosen, when one is ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from itrcore import layout
from itrcore.errors import ConfigError, unknown
from itrcore.settings import checks, yaml_file
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params
from itrcore.settings.strict import Count, Name, Settings

Values = Mapping[str, Any]  # of a trial: path in a profile, such as recipe.learning_rate → value
_PARTS = ("model", "loss", "recipe")
_DECIMALS = 12  # steps of 0.05 add up to 0.15000000000000002


class RangeSettings(Settings):
    """All numbers from `low` to `high`, both included; whole ones where both are whole.

    step: only low, low + step, …; log: drawn evenly by order of magnitude
    """

    low: int | float
    high: int | float
    step: Annotated[int | float, Field(gt=0)] | None = None
    log: bool = False

    @model_validator(mode="after")
    def _fits(self) -> RangeSettings:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("step and log exclude each other; list the values instead")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    @property
    def values(self) -> list[Any] | None:
        """All of them; None where they are too many to list."""
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [
            self.low + number * step if self.whole else round(self.low + number * step, _DECIMALS)
            for number in range(count)
        ]


Choices = Annotated[list[Any], Field(min_length=2)]
Space = Annotated[
    Annotated[RangeSettings, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(lambda value: "choices" if isinstance(value, list) else "range"),
]


class NoPruning(Settings):
    """Every trial is trained to its end."""

    kind: Literal["none"]


class MedianPruning(Settings):
    """A trial is ended whose best rsum on dev so far is below the median of what finished trials had at the same epoch.

    after_epochs: of its own, at the earliest; after_trials: that have finished, at the earliest
    """

    kind: Literal["median"]
    after_epochs: Count = 2
    after_trials: Count = 5


class HyperbandPruning(Settings):
    """Li et al., JMLR 2018: of trials that have come as far, the best 1/factor go on, in several brackets.

    min_epochs: of the first comparison
    """

    kind: Literal["hyperband"]
    min_epochs: Count = 1
    factor: Annotated[int, Field(ge=2)] = 3


Pruning = Annotated[NoPruning | MedianPruning | HyperbandPruning, Field(discriminator="kind")]


class SweepSettings(Settings):
    """The whole of a sweep's file.

    run: the run of params.yaml whose data set, method, variant and profile its trials begin with
    search: path in a profile → its values
    trials: how many; a grid has as many as it has combinations
    seeds: of the trainings of each trial, which counts by the mean of their best rsum on dev
    """

    run: Name
    search: Annotated[dict[str, Space], Field(min_length=1)]
    sampler: Literal["grid", "random", "tpe"]
    trials: Count | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)] = Field(default=[1])
    prune: Pruning = MedianPruning(kind="median")

    @model_validator(mode="after")
    def _fits(self) -> SweepSettings:
        if (self.trials is None) != (self.sampler == "grid"):
            raise ValueError(
                "a grid has a trial for each combination; remove trials"
                if self.trials
                else f"{self.sampler} needs trials, such as trials: 20"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"a seed is listed twice in {self.seeds}")
        for path, space in self.search.items():
            if isinstance(space, list) and len({json.dumps(value) for value in space}) < len(space):
                raise ValueError(f"search.{path}: a value is listed twice in {space}")
            if self.sampler == "grid" and isinstance(space, RangeSettings) and space.values is None:
                raise ValueError(f"search.{path}: a grid needs a list of values, or a range with a step")
            if below := next((other for other in self.search if other.startswith(f"{path}.")), None):
                raise ValueError(f"search.{below} is a part of search.{path}; vary one of them")
        return self


@dataclass(frozen=True)
class Sweep:
    """A sweep of an experiment: its name, its settings, and the experiment without it."""

    name: str
    settings: SweepSettings
    params: Params

    @property
    def data(self) -> str:
        """The data set that it trains on."""
        return self.params.run(self.settings.run).data

    def profile(self, values: Values) -> dict[str, Any]:
        """What a trial changes of its method's recipe and variant: the run's profile, with the trial's values laid over it."""
        base = self.params.run(self.settings.run).profile
        return yaml_file.overlay({} if base is None else self.params.profiles[base], _nested(values))

    def with_run(self, name: str, values: Values, seed: int) -> Params:
        """The experiment with one run more, of this name: a training of a trial. `ConfigError` where the method refuses it."""
        run = self.params.run(self.settings.run).model_copy(update={"profile": name, "seed": seed})
        changed = self.params.model_copy(
            update={
                "profiles": {**self.params.profiles, name: self.profile(values)},
                "runs": {**self.params.runs, name: run},
            }
        )
        recipe = self.params.recipes[run.method].with_variant(run.variant).model_dump(mode="json")
        said = ", ".join(f"{path} {json.dumps(value)}" for path, value in values.items())
        where = f"{layout.sweep_settings(self.name)}: search, with {said}"
        yaml_file.settings(MethodSettings, yaml_file.overlay(recipe, self.profile(values)), where)
        if problems := list(checks.wrong_method(changed, where, name)):
            raise ConfigError("\n".join(problems))
        return changed

    def single_changes(self) -> Iterator[dict[str, Any]]:
        """Each value of a list, and the ends of each range, alone."""
        for path, space in self.settings.search.items():
            for value in space if isinstance(space, list) else (space.low, space.high):
                yield {path: value}

    def variants(self) -> Iterator[Params]:
        """The experiment with a run of the sweep's name: as the sweep's run is, and with each of the single changes that fit it."""
        for values in ({}, *self.single_changes()):
            with suppress(ConfigError):
                yield self.with_run(self.name, values, self.settings.seeds[0])


def read(params: Params, name: str) -> Sweep:
    """The sweep of this name. `ConfigError` for all that is wrong with it, before anything starts."""
    path = layout.sweep_settings(name)
    for problem in unknown("sweep", name, dict.fromkeys(names()), str(layout.SWEEPS)):
        raise ConfigError(problem)
    data = yaml_file.read(path, SweepSettings.model_fields, "a sweep's settings lie there")
    settings = yaml_file.settings(SweepSettings, data, path)
    for problem in unknown(f"{path}: run", settings.run, params.runs, "runs of params.yaml"):
        raise ConfigError(problem)
    if params.run(settings.run).seed is None:
        raise ConfigError(
            f"{path}: run: {settings.run} is not trained here (an import, or zero-shot); name one that is"
        )
    sweep = Sweep(name, settings, params)
    if problems := list(_wrong_paths(sweep)):
        raise ConfigError("\n".join(f"{path}: {line}" for line in problems))
    return sweep


def names() -> list[str]:
    """Of the sweeps of the experiment in the working directory."""
    return sorted(path.stem for path in layout.SWEEPS.glob("*.yaml"))


def _wrong_paths(sweep: Sweep) -> Iterator[str]:
    """Paths that the method's settings do not have; a key of a part that takes any, such as recipe.factors, is left to it."""
    settings = sweep.params.method_of(sweep.settings.run).model_dump(mode="json")
    for path in sweep.settings.search:
        inside: Any = {part: settings[part] for part in _PARTS}
        for number, key in enumerate(path.split(".")):
            above = ".".join(path.split(".")[:number])
            if not isinstance(inside, Mapping):
                yield f"search.{path}: {above} is {json.dumps(inside)}, and has no {key}"
                break
            if key not in inside and inside:
                yield from unknown(f"search.{path}", key, inside, above or "a method's settings")
                break
            inside = inside.get(key, {})


def check(sweep: Sweep, trials: Iterable[Values]) -> None:
    """`ConfigError` where the method does not take the values of one of these trials."""
    problems = list[str]()
    for values in trials:
        try:
            sweep.with_run(sweep.name, values, sweep.settings.seeds[0])
        except ConfigError as error:
            problems += str(error).splitlines()
    if problems:
        raise ConfigError("\n".join(problems))


def _nested(values: Values) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = path.split(".")
        inside = nested
        for key in above:
            inside = inside.setdefault(key, {})
        inside[last] = value
    return nested
