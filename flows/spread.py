"""A benchmark on all machines of a work pool: each run is trained by a flow of its own, and results meet in DVC's remote.

The flow that spreads makes data sets, ensembles and the report. For each run that is out of date, and that the remote lacks, it
starts the deployment train/<experiment> in a queue of its own; whichever machine's worker is free takes that. Its parameter `needs`
names the outputs that the run reads, so another machine needs neither the data set nor a dvc.lock: it gets them from the remote,
trains, and sends what it made. Code and params.yaml must be the same there; if they are not, the training refuses its record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from socket import gethostname
from typing import Any, TypeVar
from uuid import UUID

from httpx import HTTPStatusError, TransportError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from flows import remote
from flows.graph import RUNS, Stage, Task
from flows.log import Log
from flows.plan import MACHINES, claimed
from flows.targets import LAST_LINES, TargetFailed, changed, reproduce, stopped
from itrcore import layout
from itrcore.errors import ConfigError, first_line
from itrcore.files import sha256
from itrcore.remote import default, outputs
from itrcore.settings.params import Params

_RECORDS = "inputs"  # the stage that reads, for all runs of its data set, what they read too
_STARTS = 4  # of a run whose machine is lost each time
_AT_ONCE = 2  # processes of DVC here, which look for results and restore them
_PAUSE, _LONGEST_PAUSE = 1.0, 10.0  # seconds between two looks
_MACHINE = "itr.machine"  # the label of a run of such a flow that says where it runs
_WATCH_SECONDS = 30.0  # for the watcher, if there is one, to start what crashed again: it ends what was left of that
_LATE_SECONDS = 60.0  # until it is said that no worker takes a run

T = TypeVar("T")


def lendable(tasks: Sequence[Task]) -> list[Task]:
    """Those that another machine may make: of runs, and reading nothing of other runs."""
    return [
        task
        for task in tasks
        if task.stages[0].block == RUNS and all(before.stages[0].block != RUNS for before in task.done_before)
    ]


class Spread:
    """Makes the runs of a flow's tasks on whichever machine is free.

    name: the experiment's, as deployments have it; gpus: of each machine, as for the flow; log: the flow's
    `ConfigError` where the experiment has no default remote, or the server no deployment for its runs.
    """

    def __init__(self, name: str, gpus: Sequence[str], params: Params, tasks: Sequence[Task], log: Log) -> None:
        self._name, self._gpus, self._params, self._log = name, [*gpus], params, log
        self.tasks = lendable(tasks)
        self._stages = {stage.target: stage for task in tasks for stage in task.stages}
        self._needs: dict[frozenset[str], dict[str, str]] = {}
        self._sending, self._few = threading.Lock(), threading.Semaphore(_AT_ONCE)
        if default() is None:
            raise ConfigError(
                "runs can be spread over machines only through a default remote of DVC: dvc remote add --default NAME WHERE"
            )
        try:
            with get_client(sync_client=True) as client:
                client.read_deployment_by_name(self._deployment)
        except ObjectNotFound:
            raise ConfigError(
                f"Prefect's server has no deployment {self._deployment}: itr up, or prefect --no-prompt deploy --all"
            ) from None

    @property
    def _deployment(self) -> str:
        return f"train/{self._name}"

    def make(self, task: Task, hear: Callable[[str], None]) -> None:
        """Have a run made, by whom it may be, and put what that made in place here. `TargetFailed` where it fails.

        hear: called with each line that DVC prints here
        """
        mark, needs, patience = self._mark(task), self._sent(task, hear), 0.0
        for _ in range(_STARTS):
            if self._here(task, lambda *targets: remote.fetch(targets, hear)) == {*task.targets}:
                break
            run = self._follow(task.title, self._going_on(mark, patience) or self._start(task, mark, needs))
            if run.state_type == StateType.CRASHED:
                patience = _WATCH_SECONDS
                self._say(task.title, f"its machine was lost ({_message(run).partition('. ')[0]}); it is started again")
                continue
            if run.state_type != StateType.COMPLETED:
                raise TargetFailed(f"{task.title} failed on {_machine(run)}: {_message(run)}", self._last_lines(run))
            first = task.targets[0]
            if first not in self._here(task, lambda *targets: remote.fetch(targets, hear)):
                raise TargetFailed(
                    f"{first} was made on {_machine(run)}, but the remote has nothing that was made of the inputs that are "
                    "here. Is the default remote there the same, and is nobody changing code or params.yaml meanwhile?"
                )
            break
        else:
            raise TargetFailed(f"{task.title} was started {_STARTS} times, and each time its machine was lost")
        self._here(task, lambda *targets: reproduce(targets, hear))  # DVC finds it in its cache

    def _here(self, task: Task, do: Callable[..., T]) -> T:
        """Do something with a task's targets on this machine, which may be making them for another flow."""
        waiting = "another flow makes it here: waiting until that has ended"
        with claimed(task.title, lambda: self._say(task.title, waiting)), self._few:
            return do(*task.targets)

    def _sent(self, task: Task, hear: Callable[[str], None]) -> dict[str, str]:
        """What a run reads, path → digest, which the remote has then."""
        read = [self._stages[target] for stage in task.stages for target in stage.reads if target in self._stages]
        read += [self._stages[target] for stage in read if stage.name == _RECORDS for target in stage.reads]
        targets = list(dict.fromkeys(stage.target for stage in read if stage not in task.stages))
        with self._sending:  # runs of a data set share it
            if (key := frozenset(targets)) not in self._needs:
                remote.send(targets, hear)
                self._needs[key] = outputs(targets)
            return self._needs[key]

    def _mark(self, task: Task) -> str:
        """A tag by which a flow finds what an earlier one has started for the same training."""
        stage: Stage = task.stages[0]
        run = self._params.run(str(stage.item))
        record = layout.inputs("train", run.data) / f"{stage.item}.json"
        return f"{self._name}: {task.title} {sha256(record)[:12] if record.exists() else ''}".strip()

    def _going_on(self, mark: str, seconds: float) -> FlowRun | None:
        """What an earlier flow, or within so many seconds flows.watch, has started and has not ended."""
        end = time.monotonic() + seconds
        while True:
            going_on = [run for run in self._marked(mark) if not run.state or not run.state.is_final()]
            if going_on or time.monotonic() >= end or stopped():
                return next(iter(going_on), None)
            time.sleep(_PAUSE)

    def _marked(self, mark: str) -> list[FlowRun]:
        """The newest first."""
        tags = FlowRunFilter(tags=FlowRunFilterTags(all_=[mark]))
        return self._asked(
            lambda client: client.read_flow_runs(flow_run_filter=tags, sort=FlowRunSort.EXPECTED_START_TIME_DESC)
        )

    def _start(self, task: Task, mark: str, needs: dict[str, str]) -> FlowRun:
        last = next((run.id for run in self._marked(mark)), "none")

        def start(_: SyncPrefectClient) -> Any:
            return run_deployment(
                self._deployment,
                parameters={"runs": [task.stages[0].item], "gpus": self._gpus, "needs": needs},
                timeout=0,
                work_queue_name=MACHINES,
                flow_run_name=task.title,
                tags=[mark],
                idempotency_key=f"{mark} after {last}",  # two flows at once start one
            )

        try:
            run: FlowRun = self._asked(start)
            return run
        except HTTPStatusError as error:
            raise TargetFailed(
                f"{task.title}: Prefect's server does not start {self._deployment} for it ({error.response.text[:500]}). If it "
                "does not know the run: prefect --no-prompt deploy --all"
            ) from error

    def _follow(self, title: str, run: FlowRun) -> FlowRun:
        """A flow run when it has ended. If this flow is stopped before, so is that."""
        pause, begun, late = _PAUSE, False, time.monotonic() + _LATE_SECONDS
        while not (run.state and run.state.is_final()):
            if not begun and _MACHINE in run.labels:
                begun = True
                self._say(title, f"begins on {_machine(run)}")
            if late and not begun and time.monotonic() > late:
                late = 0
                self._say(
                    title, "waits for a free worker. Each takes as many flows as its --limit says; this one counts"
                )
            end = time.monotonic() + pause
            while time.monotonic() < end:
                if stopped():
                    with suppress(Exception), get_client(sync_client=True) as client:
                        client.set_flow_run_state(run.id, Cancelling())
                    raise TargetFailed(f"{title} was stopped")
                time.sleep(0.2)
            pause, run = min(1.5 * pause, _LONGEST_PAUSE), self._read(run)
        return run

    def _read(self, run: FlowRun) -> FlowRun:
        return self._asked(lambda client: client.read_flow_run(run.id))

    def _last_lines(self, run: FlowRun) -> list[str]:
        """Of what a flow run said."""
        logs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        found = self._asked(lambda client: client.read_logs(logs, limit=LAST_LINES, sort=LogSort.TIMESTAMP_DESC))
        return [line for log in reversed(found) for line in log.message.splitlines()][-LAST_LINES:]

    def _asked(self, ask: Callable[[SyncPrefectClient], T]) -> T:
        """What Prefect's server says; if it is away, when it is back."""
        told = False
        while True:
            try:
                with get_client(sync_client=True) as client:
                    return ask(client)
            except (TransportError, HTTPStatusError) as error:
                if isinstance(error, HTTPStatusError) and not error.response.is_server_error:
                    raise
                if stopped():
                    raise TargetFailed(f"Prefect's server does not answer ({first_line(error)})") from error
                if not told:
                    self._log.say(f"Prefect's server does not answer ({first_line(error)}): waiting for it.")
                told = True
                time.sleep(_LONGEST_PAUSE)

    def _say(self, title: str, line: str) -> None:
        self._log.say(f"{self._log.number(title)} {title}: {line}")


@contextmanager
def lent(
    tasks: Sequence[Task], needs: Mapping[str, str], hear: Callable[[str], None], whole: Callable[[], bool]
) -> Iterator[None]:
    """Around the making of runs for a flow of another machine: first get what they read, and what of them is made; then send.

    needs: path → digest of what they read; hear: called with each line that DVC prints; whole: whether all was made
    `TargetFailed` of the remote
    """
    targets = [target for task in tasks for target in task.targets]
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(UUID(flow_run.id), {_MACHINE: gethostname()})
    with claimed("what runs read", lambda: hear("Another flow gets what runs read: waiting until it has it.")):
        remote.fetch(targets, hear, needs)
    yield
    if stopped():
        return
    changes = {} if whole() else changed(*targets)
    if made := [target for target in targets if changes is not None and target not in changes]:
        remote.send(made, hear)


def _machine(run: FlowRun) -> Any:
    return run.labels.get(_MACHINE, "a machine that is not known")


def _message(run: FlowRun) -> Any:
    return (run.state and run.state.message) or str(run.state_type)
