"""The flows that prefect.yaml deploys, for each experiment and purpose: flows.deployed:f30k.train is that of experiments/f30k.

The parameters are made from the experiment's params.yaml: Prefect's page offers the runs and data sets that exist, and its server
refuses others. `itr up` and `prefect deploy --all` bring them up to date.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import chdir
from functools import cache
from typing import Annotated, Any, Literal

from prefect import Flow, flow
from prefect.client.schemas import State
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from flows.flow import RUNNER, schedule
from flows.graph import DATASETS, RUNS
from flows.plan import DEMO, PROJECT, folder_of
from flows.sweep import sweep as run_sweep
from itrcore.settings import sweeps
from itrcore.settings.load import load

Jobs = Annotated[int, Field(ge=1)]
Needs = SkipJsonSchema[
    Mapping[str, str] | None
]  # what a benchmark that is spread has sent: in no form, as people leave it empty


class Experiment:
    """The flows of an experiment. Prefect shows their docstrings, and beside the parameters what "Args" says of them.

    `ConfigError` where its params.yaml is wrong.
    """

    def __init__(self, name: str) -> None:
        self._folder = PROJECT if name == DEMO else folder_of(name)
        self._params = load(self._folder / "params.yaml")

    @property
    def benchmark(self) -> Flow[..., State[None]]:
        """All of the experiment."""

        def benchmark(jobs: Jobs = 1, gpus: Sequence[str] = (), spread: bool = False) -> State[None]:
            """Make everything of the experiment that is out of date, as dvc repro does.

            Args:
                jobs: how many tasks compute at once
                gpus: GPUs to spread them over, such as 0 and 1 (none: all there are); each task sees one
                spread: hand the runs to all workers of the pool, through DVC's default remote
            """
            return schedule(self._folder, jobs, gpus, spread=spread)

        return _flow(benchmark)

    @property
    def prepare(self) -> Flow[..., State[None]]:
        """Some of its data sets."""

        def prepare(data, jobs: Jobs = 1) -> State[None]:  # type: ignore[no-untyped-def]
            """Fetch data sets of the experiment and make them ready for training; train nothing.

            Args:
                data: which data sets
                jobs: how many tasks compute at once
            """
            return schedule(self._folder, jobs, (), {DATASETS: data})

        return _flow(prepare, data=_some_of(self._params.datasets))

    @property
    def train(self) -> Flow[..., State[None]]:
        """Some of its runs."""

        def train(  # type: ignore[no-untyped-def]
            runs, jobs: Jobs = 1, gpus: Sequence[str] = (), needs: Needs = None
        ) -> State[None]:
            """Train and evaluate runs of the experiment, after what they need; ensembles and report are left as they are.

            Args:
                runs: which runs
                jobs: how many tasks compute at once
                gpus: GPUs to spread them over, such as 0 and 1 (none: all there are); each task sees one
            """
            return schedule(self._folder, jobs, gpus, {RUNS: runs}, needs=needs)

        return _flow(train, runs=_some_of(self._params.runs))

    @property
    def sweep(self) -> Flow[..., State[None]]:
        """One of its sweeps."""

        def sweep(sweep, jobs: Jobs = 1, gpus: Sequence[str] = ()) -> State[None]:  # type: ignore[no-untyped-def]
            """Train a run with other settings, many times, and find what is best on dev; what was cancelled goes on.

            Args:
                sweep: which file of the experiment's folder sweeps
                jobs: how many trainings go on at once
                gpus: GPUs to spread them over, such as 0 and 1 (none: all there are); each training sees one
            """
            return run_sweep(self._folder, sweep, jobs, gpus)

        with chdir(self._folder):
            names = sweeps.names()
        return _flow(sweep, sweep=_one_of(names) if names else str)  # a form has to offer something


def _some_of(names: Iterable[str]) -> Any:
    """The type of a list of some of these."""
    return Annotated[list[_one_of(names)], Field(min_length=1)]  # type: ignore[misc]


def _one_of(names: Iterable[str]) -> Any:
    """The type of one of these."""
    known = tuple(names)
    as_list = Field(json_schema_extra={"enum": [*known]})  # pydantic writes one name alone as a constant
    return Annotated[Literal[known], as_list]


def _flow(function: Callable[..., State[None]], **types: Any) -> Flow[..., State[None]]:
    """types: of parameters, where they are only known now"""
    function.__annotations__.update(types)
    return flow(name=function.__name__, task_runner=RUNNER)(function)


_experiment = cache(Experiment)  # each is asked for three times


def __getattr__(name: str) -> Experiment:
    """An experiment; so Prefect finds its flows by what stands behind the colon."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _experiment(name)
