"""An experiment as a Prefect flow: python -m flows.benchmark [--experiment f30k] [--jobs N] [--gpus 0,1] [--runs NAME …]

Runs without any server; with one (PREFECT_API_URL) it shows up there, and `prefect.yaml` makes a deployment of it.
The steps are DVC's targets: what DVC finds up to date is not done again, and a result is the same as from `dvc repro`.
"""

from __future__ import annotations

import argparse
import queue
import signal
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.targets import allow, reproduce, stop_all
from itrcore import layout
from itrcore.errors import ConfigError, unknown
from itrcore.files import read_json
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.terminal import user_errors
from itrcore.tracking.synchronise import synchronise

Future = PrefectFuture[Any]
Slots = queue.Queue[str | None]

PREPARE = ("raw", "splits", "vocab", "shards", "inputs")
RUN = ("train", "evaluate", "judge")
RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
EXPERIMENTS = Path(__file__).parents[1] / "experiments"
_RETRIES = 1
_RETRY_SECONDS = 5


@task(task_run_name="{name}", retries=_RETRIES, retry_delay_seconds=_RETRY_SECONDS, cache_policy=NO_CACHE)
def dvc_targets(name: str, targets: Sequence[str], slots: Slots | None = None) -> None:
    """DVC targets, one after another; those that are up to date are not done again.

    slots: where a slot is taken from and put back to, for targets whose number at once is limited; a slot that is not
    None names the only GPU that the targets see
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


# Tasks that wait for others hold a thread; each was submitted after those it waits for, so no number deadlocks.
_RUNNER: Any = ThreadPoolTaskRunner(max_workers=64)


@flow(name="benchmark", task_runner=_RUNNER)
def benchmark(
    experiment: str | None = None, jobs: int = 1, gpus: list[str] | None = None, runs: list[str] | None = None
) -> None:
    """Prepare the data, train and evaluate every run, average ensembles, write the report and a leaderboard artifact.

    experiment: a folder of `experiments/`; without it, the experiment of the folder where this is started
    jobs: how many runs are trained at once
    gpus: GPUs to spread them over, as CUDA_VISIBLE_DEVICES names them; each training sees one
    runs: names out of params.yaml's `runs`; with some of them only, ensembles and report are left as they are
    """
    allow()
    try:
        with chdir(_folder(experiment)):
            _benchmark(load(), jobs, gpus or [], runs)
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


def _benchmark(params: Params, jobs: int, gpus: Sequence[str], wanted: Sequence[str] | None) -> None:
    names = list(params.runs) if wanted is None else list(wanted)
    data_of = {name: params.run(name).data for name in names}
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, not {jobs}")
    slots: Slots = queue.Queue()
    for number in range(jobs):
        slots.put(gpus[number % len(gpus)] if gpus else None)

    begun = _submit("code, nltk", ["code", "nltk"])
    ready: dict[str, Future] = {}
    fetched: dict[str, Future] = {}
    for data in dict.fromkeys(data_of.values()):
        before = [begun]
        if (download := params.download_of(data)) is not None:
            if download not in fetched:  # two data sets may share one
                fetched[download] = _submit(f"fetch {download}", [f"fetch@{download}"])
            before.append(fetched[download])
        ready[data] = _submit(f"prepare {data}", [f"{stage}@{data}" for stage in PREPARE], before)
    evaluated = [_submit(name, [f"{stage}@{name}" for stage in RUN], [ready[data_of[name]]], slots) for name in names]
    _all_done(evaluated)
    if wanted is not None:
        record_in_mlflow()
        return
    # The report brings MLflow up to date, too.
    ensembles = [f"{stage}@{name}" for stage in ("members", "ensemble") for name in params.ensembles]
    _all_done([_submit("ensembles, report", [*ensembles, "report"])])
    create_table_artifact(leaderboard_table(), key="leaderboard", description=params.report.title)


@task(task_run_name="mlflow", cache_policy=NO_CACHE)
def record_in_mlflow() -> None:
    """Bring MLflow up to date: what DVC restored from its cache was not logged on the way."""
    found = synchronise(load())
    get_run_logger().info("MLflow holds %d runs and ensembles", len(found.held))


def _submit(name: str, targets: Sequence[str], after: Sequence[Future] = (), slots: Slots | None = None) -> Future:
    waits: Any = {"wait_for": list(after)} if after else {}
    future: Future = dvc_targets.submit(name, targets, slots, **waits)
    return future


def _all_done(futures: Sequence[Future]) -> None:
    """Wait for every one, then fail if any failed: the others' work is done and kept."""
    for future in futures:
        future.wait()
    for future in futures:
        future.result()


def leaderboard_table() -> list[dict[str, object]]:
    """The rows of leaderboard.json, one per method or ensemble and data set: recalls in percent, means over the seeds."""
    table: list[dict[str, object]] = []
    for data, entries in read_json(layout.LEADERBOARD).items():
        for row, values in entries.items():
            shown = {key: round(values[key], 1) for key in RECALLS}
            table.append({"data": data, "row": row, "seeds": values.get("seeds"), **shown})
    return table


def main() -> None:
    """Command line of the flow."""
    parser = argparse.ArgumentParser(
        description=benchmark.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--experiment", help="a folder of experiments/, such as f30k; else that of the folder you are in"
    )
    parser.add_argument("--jobs", type=int, default=1, help="how many runs are trained at once")
    parser.add_argument("--gpus", type=lambda text: text.split(","), help="GPUs to spread them over, such as 0,1")
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="train and evaluate these runs only")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)
    with user_errors():
        benchmark(arguments.experiment, arguments.jobs, arguments.gpus, arguments.runs)


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
