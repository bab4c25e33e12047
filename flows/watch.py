"""Looks after deployed flow runs: python -m flows.watch, which `itr up` starts. One is enough; several do no harm.

A flow run that says nothing any more (flows.heartbeat), as its machine or its process is dead, is marked as crashed, and its
deployment is started again with the same parameters. Trainings then go on from their last state.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import count
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import FlowRun, State, StateType
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectException, PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Crashed

from flows.heartbeat import BEATS, CONTINUES, LASTS, MACHINE, lost_after
from itrcore.errors import first_line
from itrcore.terminal import say, user_errors

AGAIN = 3  # times that what was lost is started again
_LOOKS = 12  # while a run says nothing, before it is lost
_TO_BEGIN = 30.0  # seconds more may pass until a process has begun that a worker starts
_PAGE = 200  # flow runs in an answer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        user_errors(),
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True) as client,
    ):
        patience = lost_after()
        watch, every, reached = Watch(client, patience), patience / _LOOKS, True
        say(f"Watching flow runs: one that says nothing for {patience:g} seconds is lost.")
        while True:
            try:
                watch.look(2 * every)
                reached = True
            except (HTTPError, PrefectException) as error:
                if reached:
                    say(f"Prefect's server does not answer ({first_line(error)}). It is asked again until it does.")
                reached = False
            time.sleep(every)


class Silence:
    """How long each of some runs has said nothing, by this process's clock alone: those of machines may differ."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[Hashable, float]] = {}
        self._looked = time.monotonic()

    def seconds(self, signs: Mapping[UUID, Hashable], most: float) -> dict[UUID, float]:
        """signs: run → what changes when it lives. most: seconds that may have passed since the last look, however many did.

        This process, its machine or the server may have been asleep meanwhile, when nobody could say anything.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, most), now
        before = self._known
        self._known = {
            run: (sign, before[run][1] + passed if run in before and before[run][0] == sign else 0.0)
            for run, sign in signs.items()
        }
        return {run: silent for run, (_, silent) in self._known.items()}


class Watch:
    """The watcher of a server. patience: seconds without a word, of runs that say none of their own."""

    def __init__(self, client: SyncPrefectClient, patience: float) -> None:
        self._client, self._patience = client, patience
        self._silence = Silence()
        self._alive: dict[UUID, FlowRun] = {}
        self._is_ours = cache(self._from_here)
        self._kind = cache(lambda pool: client.read_work_pool(pool).type)

    def look(self, most: float) -> None:
        """Once; `most` as for `Silence`."""
        runs = {run.id: run for run in self._going_on()}
        silent = self._silence.seconds({key: (run.state_id, run.labels.get(BEATS)) for key, run in runs.items()}, most)
        for run in [run for key, run in runs.items() if silent[key] > self._most(run)]:
            self._give_up(run, silent[run.id])
            del runs[run.id]
        for key in self._alive.keys() - silent.keys():
            with suppress(ObjectNotFound):  # someone has removed it
                run = self._client.read_flow_run(key)
                if run.state is not None and run.state.is_crashed() and BEATS in run.labels:
                    say(f"{run.name} crashed. {self._again(run)[1]}")  # its worker has seen it die
        self._alive = runs

    def _going_on(self) -> Iterator[FlowRun]:
        """Flow runs of our deployments that a worker has taken and that have not ended."""
        states = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": states}}})
        for offset in count(0, _PAGE):
            page = self._client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=offset)
            yield from (run for run in page if run.deployment_id is not None and self._is_ours(run.deployment_id))
            if len(page) < _PAGE:
                return

    def _from_here(self, deployment: UUID) -> bool:
        """Whether a deployment is of flows.deployed: others say nothing of their life."""
        try:
            return (self._client.read_deployment(deployment).entrypoint or "").startswith("flows.deployed:")
        except ObjectNotFound:
            return False

    def _most(self, run: FlowRun) -> float:
        """Seconds that a run may say nothing. In pools of other kinds, such as Kubernetes, one may wait long before it begins."""
        assert run.state is not None
        if run.state.is_pending() and run.work_pool_name is not None and self._kind(run.work_pool_name) != "process":
            return math.inf
        said = run.labels.get(LASTS) if run.state.is_running() or run.state.is_cancelling() else None
        return self._patience + _TO_BEGIN if said is None else float(str(said))

    def _give_up(self, run: FlowRun, seconds: float) -> None:
        """Mark a run, and start it again unless someone cancelled it."""
        assert run.state is not None
        where = run.labels.get(MACHINE, "The process that a worker was to start for it")
        silent = f"{where} has said nothing for {seconds:.0f} seconds ({time.strftime('%Y-%m-%d %H:%M:%S')})."
        if run.state.is_cancelling():
            self._client.set_flow_run_state(run.id, Cancelled(message=silent))
            return
        again, told = self._again(run)
        state: State[None] = Crashed(message=f"{silent} {told}")
        done = self._client.set_flow_run_state(run.id, state)
        if done.status == SetStateStatus.ACCEPT:
            say(f"{run.name}: {state.message}")
        elif again is not None and done.state is not None and not done.state.is_crashed():  # it has ended meanwhile
            self._client.set_flow_run_state(again.id, Cancelled(message=f"{run.name} has ended"), force=True)

    def _again(self, run: FlowRun) -> tuple[FlowRun | None, str]:
        """The flow run that goes on with a lost one, and what to say of that. It is the same one, however often it is asked for."""
        before = str(run.labels.get(CONTINUES, "")).split()
        if len(before) == AGAIN:
            return (
                None,
                f"It was started again {AGAIN} times. Find out why it is lost, then start it: what is done is kept.",
            )
        assert run.deployment_id is not None
        first = run.name.partition(", start ")[0]
        try:
            again = self._client.create_flow_run_from_deployment(
                run.deployment_id,
                parameters=run.parameters,
                name=f"{first}, start {len(before) + 2}",
                tags=run.tags,
                idempotency_key=f"after {run.id} {run.run_count}",
                work_queue_name=run.work_queue_name,
                job_variables=run.job_variables,
                labels={CONTINUES: " ".join([*before, str(run.id)])},
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code >= 500:
                raise  # it has too much to do: the next look tries again
            return None, f"It cannot be started again ({first_line(error)})."
        return again, f"'{again.name}' goes on with it."


if __name__ == "__main__":
    main()
