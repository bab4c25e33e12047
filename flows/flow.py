"""An experiment as a Prefect flow: it reads DVC's graph of the stages and runs each through DVC."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, chdir, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from prefect import allow_failure, flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows import heartbeat
from flows.graph import RUNS, Task
from flows.log import Log
from flows.outlook import outlook
from flows.plan import claimed, folder_of, name_of, planned
from flows.slots import Place, Slots, needed
from flows.spread import Spread, lendable, lent
from flows.targets import TargetFailed, allow, reproduce, run, stop_all, stopped
from itrcore import layout
from itrcore.errors import ITRError, first_line
from itrcore.files import read_json
from itrcore.report.published_figures import FIGURES
from itrcore.settings.params import Params
from itrcore.terminal import warn

_RETRIES = 1
_RETRY_SECONDS = 5

Elsewhere = Callable[[Callable[[str], None]], None]  # makes a task's targets, and tells each line that is printed


@dataclass
class Work:
    """How far a flow's work is. It is known without Prefect's server, which may be lost meanwhile.

    left: titles of tasks that have not succeeded; None before the tasks are known
    failed: of these, those that ran, with what went wrong
    error: anything else that went wrong
    ended: set when nothing is left to do but to tell the server
    log: what people read
    """

    log: Log
    left: set[str] | None = None
    failed: dict[str, Exception] = field(default_factory=dict)
    error: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `error`, or one `ITRError` that says what failed, the last lines of its output, and what to do."""
        if self.error is not None:
            raise self.error
        if not self.left:
            return
        texts = [
            "\n  ".join([str(error), *error.last]) if isinstance(error, TargetFailed) else f"{name}: {error!r}"
            for name, error in self.failed.items()
        ]
        texts.append(f"All that was printed is in {self.log.path}.")
        if waiting := sorted(self.left - self.failed.keys()):
            texts.append(f"Not run because of that: {', '.join(waiting)}.")
        raise ITRError("\n".join([*texts, "Mend that and run it again: what is done is kept."]))


_work: ContextVar[Work] = ContextVar("work")  # where the command line follows it


@task(
    task_run_name="{name}",
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_SECONDS,
    retry_condition_fn=lambda task, task_run, state: not stopped(),
    cache_policy=NO_CACHE,
)
def dvc_targets(
    name: str,
    targets: Sequence[str],
    work: Work,
    slots: Slots | None = None,
    gpus: int = 1,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Run DVC targets, one after another; DVC skips those that are up to date.

    slots, gpus: where it computes, and on how many; elsewhere: has them made by another flow instead
    """
    again = None if elsewhere or name in work.failed else _RETRY_SECONDS

    def waiting() -> None:
        work.log.say(f"{work.log.number(name)} {name}: another flow runs it here: waiting until that has ended")

    try:
        with ExitStack() as held:
            place = Place()
            if elsewhere is None:
                held.enter_context(claimed(name, waiting))  # before it has a slot, which is for what computes
                if slots is not None:
                    place = held.enter_context(slots.taken(name, gpus, work.log.say))
            told = held.enter_context(work.log.task(name, get_run_logger().log))
            try:
                if elsewhere is not None:
                    elsewhere(told.hear)
                else:
                    reproduce(targets, told.hear, place.variables, place.held)
                told.done()
            except Exception as error:
                if not stopped():
                    told.failed(error, again)
                raise
    except Exception as error:
        work.failed[name] = error
        raise
    work.failed.pop(name, None)  # the second try was better
    if work.left is not None:
        work.left.discard(name)


@task(task_run_name="mlflow", cache_policy=NO_CACHE)
def record_in_mlflow(log: Log) -> None:
    """Bring MLflow up to date: no training logged what DVC restored from its cache. What it refuses is a warning."""
    with log.task("mlflow", get_run_logger().log) as told:
        run([sys.executable, "-m", "itrcore.cli", "track"], told.hear)
        told.done()


# A waiting task occupies a thread. Tasks are submitted after those they wait for, so any number of threads is enough.
RUNNER: Any = ThreadPoolTaskRunner(max_workers=512)


@flow(name="benchmark", task_runner=RUNNER)
def benchmark(
    experiment: str | None = None,
    jobs: int = 1,
    gpus: list[str] | None = None,
    only: dict[str, list[str]] | None = None,
    spread: bool = False,
) -> State[None]:
    """The flow of the command line; flows.deployed has those of prefect.yaml.

    experiment: a folder of `experiments/`; without it, the experiment of the folder where this is started
    only: as for `schedule`
    """
    return schedule(folder_of(experiment), jobs, gpus or (), only, spread=spread)


def schedule(
    folder: Path,
    jobs: int,
    gpus: Sequence[str],
    only: Mapping[str, Sequence[str]] | None = None,
    spread: bool = False,
    needs: Mapping[str, str] | None = None,
) -> State[None]:
    """Run every stage of an experiment's dvc.yaml that is out of date, then make an artifact of the leaderboard. Call it in a flow.

    folder: the experiment's
    jobs: how many tasks compute at once
    gpus: GPUs to spread them over, as `slots.named` takes them; none: those that there are; each task sees one; with `spread`, of
        each machine
    only: names in blocks of params.yaml, such as runs: only these and what they depend on; not ensembles, not the report
    spread: runs are made by flows of their own, on whichever machine of the work pool is free
    needs: the runs are made for such a flow: path → digest of what they read, which it has sent to DVC's remote
    `ConfigError` where params.yaml, dvc.yaml or an argument is wrong. Failed at the end, after all other tasks, where a target
    failed; Cancelled where it was stopped.
    """
    of_command = _work.get(None)
    runs = () if only is None else only.get(RUNS, ())
    lending = needs is not None
    work = of_command or Work(Log(folder, name=f"train-{runs[0]}" if lending else "benchmark"))
    allow()
    heart = heartbeat.begin()
    try:
        with chdir(folder):
            params, tasks = planned(jobs, only)
            others = lendable(tasks)  # what another machine may make
            if lending:
                tasks = [Task(lent_task.stages, [], []) for lent_task in others]
            here = [task for task in tasks if task not in others] if spread else tasks
            slots = Slots.of(params, here, jobs, () if spread else gpus)
            if of_command is None and not lending:
                work.log.say(outlook(params, tasks, jobs, None, partial(work.log.write, "records")))
            trains = bool(runs) and not lending
            work.log.total = len(tasks) + trains
            work.log.tell(get_run_logger().info)
            elsewhere = Spread(name_of(folder), gpus, params, tasks, work.log) if spread else None
            with nullcontext() if needs is None else lent(tasks, needs, work.log.say, lambda: not work.left):
                _run(tasks, work, slots, params, elsewhere)
            if heart.over is not None:
                return heartbeat.ended(heart.over)
            if stopped():
                return Cancelled(message="stopped")
            if work.left:
                return Failed(
                    message=f"failed: {', '.join(work.failed)}; {len(work.left)} of {len(tasks)} tasks are not done"
                )
            if only is not None:
                if trains:
                    record_in_mlflow(work.log)  # as the report does
                return Completed(message=f"up to date: {', '.join(name for names in only.values() for name in names)}")
            table = leaderboard_table() if layout.LEADERBOARD.is_file() else None  # dvc.yaml may have no report
            work.ended.set()
            if table is not None:
                create_table_artifact(table, key="leaderboard", description=params.report.title)
            return Completed(message="all is up to date")
    except Exception as error:
        if heart.over is not None:
            return heartbeat.ended(heart.over)
        if not work.ended.is_set():
            work.error = error
        raise
    except BaseException:
        stop_all()  # a cancelled flow leaves no training behind
        raise
    finally:
        work.ended.set()


def _run(tasks: Sequence[Task], work: Work, slots: Slots, params: Params, elsewhere: Spread | None = None) -> None:
    """Run every task that can run, even after another one failed. elsewhere: makes runs instead"""
    work.left = {planned_task.title for planned_task in tasks}
    futures: dict[Task, PrefectFuture[Any]] = {}
    for planned_task in tasks:
        waits: list[Any] = [futures[before] for before in planned_task.needs]
        waits += [allow_failure(futures[before]) for before in planned_task.after]
        made_elsewhere = elsewhere is not None and planned_task in elsewhere.tasks
        futures[planned_task] = dvc_targets.with_options(retries=0 if made_elsewhere else _RETRIES).submit(
            planned_task.title,
            planned_task.targets,
            work,
            slots if planned_task.limited else None,
            needed(planned_task, params),
            partial(elsewhere.make, planned_task) if elsewhere is not None and made_elsewhere else None,
            wait_for=waits,
            return_state=False,
        )
    for future in futures.values():
        future.wait()


def leaderboard_table() -> list[dict[str, object]]:
    """The rows of leaderboard.json, one per method or ensemble and data set: recalls in percent, means over the seeds."""
    table: list[dict[str, object]] = []
    for data, entries in read_json(layout.LEADERBOARD).items():
        for row, values in entries.items():
            shown = {key: round(values[key], 1) for key in FIGURES}
            table.append({"data": data, "row": row, "seeds": values.get("seeds"), **shown})
    return table


def follow(work: Work, *arguments: Any) -> None:
    """Run the flow, and keep what is to be known of it in `work`; a server that is lost meanwhile is one warning."""
    _work.set(work)
    logging.raiseExceptions = False  # else each log record that the server does not take is shown
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).propagate = False  # to Prefect's server alone: people read the flow's own log
    for name in ("prefect.events.clients", "prefect._internal.concurrency"):
        logging.getLogger(name).addFilter(_server_is_lost)
    try:
        benchmark(*arguments, return_state=True)
        for reports in (EventsWorker, APILogWorker):
            reports.drain_all()
    except Exception as error:
        if not work.ended.is_set():
            work.error = ITRError(f"Prefect cannot run the flow: {first_line(error)}")
    finally:
        work.ended.set()


_warned = threading.Lock()


def warn_of_lost_server() -> None:
    """Once."""
    if _warned.acquire(blocking=False):
        warn("Prefect's server does not answer any more. The work goes on without it, but it will not show the rest.")


def _server_is_lost(record: logging.LogRecord) -> bool:
    """Prefect says it for every event, with a trace."""
    if record.levelno >= logging.WARNING:
        warn_of_lost_server()
    return False


def _without_trace(record: logging.LogRecord) -> bool:
    """What a user can mend is no fault of the code."""
    if record.exc_info and isinstance(record.exc_info[1], ITRError):
        record.exc_info = None
    return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_without_trace)
