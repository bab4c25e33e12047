"""An experiment as a Prefect flow: python -m flows.benchmark [--experiment f30k] [--jobs N] [--gpus 0,1] [--runs NAME …]

Runs without any server; with one (PREFECT_API_URL) it shows up there, and `prefect.yaml` makes a deployment of it.
The steps are those of dvc.yaml: the flow reads DVC's graph of them and runs each through DVC, which skips what is up to date.
So a result is the same as from `dvc repro`.
"""

from __future__ import annotations

import argparse
import queue
import signal
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from prefect import allow_failure, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.graph import Task, grouped, needed_by, read_stages
from flows.targets import allow, reproduce, stop_all
from itrcore import layout
from itrcore.errors import ConfigError, unknown
from itrcore.files import read_json
from itrcore.report.published_figures import FIGURES
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.terminal import user_errors
from itrcore.tracking.synchronise import synchronise

Future = PrefectFuture[Any]
Slots = queue.Queue[str | None]

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
_RETRIES = 1
_RETRY_SECONDS = 5


@task(task_run_name="{name}", retries=_RETRIES, retry_delay_seconds=_RETRY_SECONDS, cache_policy=NO_CACHE)
def dvc_targets(name: str, targets: Sequence[str], slots: Slots | None = None) -> None:
    """Run DVC targets, one after another; DVC skips those that are up to date.

    slots: holds a value for each task that may run at once; the task takes one and puts it back. A value that is not None
    names the only GPU that the targets see. Without `slots` the task starts at once.
    """
    log = get_run_logger().info
    if slots is None:
        reproduce(targets, log)
        return
    gpu = slots.get()
    try:
        reproduce(targets, log, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
    finally:
        slots.put(gpu)


@task(task_run_name="mlflow", cache_policy=NO_CACHE)
def record_in_mlflow() -> None:
    """Bring MLflow up to date: no training logged what DVC restored from its cache."""
    recorded = synchronise(load())
    get_run_logger().info("MLflow holds %d runs and ensembles", len(recorded.held))


# A waiting task occupies a thread. Tasks are submitted after those they wait for, so any number of threads is enough.
_RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)


@flow(name="benchmark", task_runner=_RUNNER)
def benchmark(
    experiment: str | None = None, jobs: int = 1, gpus: list[str] | None = None, runs: list[str] | None = None
) -> None:
    """Run every stage of an experiment's dvc.yaml that is out of date, then make an artifact of the leaderboard.

    experiment: a folder of `experiments/`; without it, the experiment of the folder where this is started
    jobs: how many runs are trained at once
    gpus: GPUs to spread them over, as CUDA_VISIBLE_DEVICES names them; each training sees one
    runs: names in params.yaml's `runs`: only these and what they depend on; ensembles and report are left as they are
    `ConfigError` where params.yaml, dvc.yaml or an argument is wrong; `TargetFailed` at the end, after all other tasks, where a
    target failed.
    """
    allow()
    try:
        with chdir(_folder(experiment)):
            params, tasks = planned(jobs, runs)
            _run(tasks, _slots(jobs, gpus or []))
            if runs is None:
                create_table_artifact(leaderboard_table(), key="leaderboard", description=params.report.title)
            else:
                record_in_mlflow()  # as the report does
    except BaseException:
        stop_all()  # a cancelled flow leaves no training behind
        raise


def _folder(experiment: str | None) -> Path:
    if experiment is None:
        return Path.cwd()
    known = sorted(path.parent.name for path in EXPERIMENTS.glob("*/params.yaml"))
    for problem in unknown("--experiment", experiment, dict.fromkeys(known), "experiments"):
        raise ConfigError(problem)
    return EXPERIMENTS / experiment


def planned(jobs: int, runs: Sequence[str] | None) -> tuple[Params, list[Task]]:
    """The experiment in the working directory, and the flow's tasks. `ConfigError` as `benchmark` says."""
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, not {jobs}")
    params = load()
    for name in runs or ():
        params.run(name)
    stages = read_stages()
    return params, grouped(stages if runs is None else needed_by(runs, stages))


def _slots(jobs: int, gpus: Sequence[str]) -> Slots:
    slots: Slots = queue.Queue()
    for number in range(jobs):
        slots.put(gpus[number % len(gpus)] if gpus else None)
    return slots


def _run(tasks: Sequence[Task], slots: Slots) -> None:
    """Run every task that can run, even after another one failed; then raise the error of the first that failed."""
    futures: dict[Task, Future] = {}
    for planned_task in tasks:
        waits: list[Any] = [futures[before] for before in planned_task.needs]
        waits += [allow_failure(futures[before]) for before in planned_task.after]
        futures[planned_task] = dvc_targets.submit(
            planned_task.title,
            planned_task.targets,
            slots if planned_task.limited else None,
            wait_for=waits,
            return_state=False,
        )
    for future in futures.values():
        future.wait()
    # In this order a failed task comes before those that could not start because of it.
    for future in futures.values():
        future.result()


def leaderboard_table() -> list[dict[str, object]]:
    """The rows of leaderboard.json, one per method or ensemble and data set: recalls in percent, means over the seeds."""
    table: list[dict[str, object]] = []
    for data, entries in read_json(layout.LEADERBOARD).items():
        for row, values in entries.items():
            shown = {key: round(values[key], 1) for key in FIGURES}
            table.append({"data": data, "row": row, "seeds": values.get("seeds"), **shown})
    return table


def main() -> None:
    """Command line of the flow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--experiment", help="a folder of experiments/, such as f30k; without it, the folder you are in"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many runs are trained at once")
    parser.add_argument("--gpus", type=lambda text: text.split(","), help="GPUs to spread them over, such as 0,1")
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="only these runs and what they depend on")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)
    with user_errors():
        with chdir(_folder(arguments.experiment)):
            planned(arguments.jobs, arguments.runs)  # so that an error is shown before Prefect starts a server
        benchmark(arguments.experiment, arguments.jobs, arguments.gpus, arguments.runs)


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
