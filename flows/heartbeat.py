"""A deployed flow run tells Prefect's server that it lives, and learns from it whether it still is to go on.

What it says stands in the labels of the flow run, where flows.watch looks. A process that is killed or stopped, and a machine that
is off or without a network, say nothing any more. Prefect's own heartbeats come every 30 seconds at best, and restart nothing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas import State
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled

from flows.guardian import end, of_flow_runs
from flows.targets import stop_all
from itrcore.errors import ConfigError

# Labels of a flow run: how often it has said that it lives, where it runs, after how many seconds without a word it is lost, and
# the flow runs that it goes on with, the first one first.
BEATS, MACHINE, LASTS, CONTINUES = "itr.beats", "itr.machine", "itr.lost-after", "itr.continues"
SETTING = "ITR_LOST_AFTER"  # the variable that says after how many
_TRIES = 4  # beats until it is lost: one that does not arrive changes nothing


def lost_after() -> float:
    """Seconds without a word after which a flow run is lost: ITR_LOST_AFTER, else 60. `ConfigError` where it is wrong."""
    given = os.environ.get(SETTING, "60")
    with suppress(ValueError):
        if float(given) >= 1:
            return float(given)
    raise ConfigError(f"{SETTING} is {given!r}, not a number of seconds, at least 1")


class Heart:
    """over: the state that the flow run has at the server, if it is to end; None while it is to go on"""

    def __init__(self) -> None:
        self.over: State[None] | None = None


def begin() -> Heart:
    """Say from now on that the flow run of this context lives, if it is a deployment's, until it is over at the server.

    What is left here of flow runs that it goes on with is ended before: it may hold locks. If the flow run is over while it still
    works (flows.watch gave it up, or someone cancelled it and no worker is there to end it), all targets are ended.
    """
    context, heart = FlowRunContext.get(), Heart()
    run = context.flow_run if context else None
    if run is not None and run.deployment_id is not None:
        end_rest_of(str(run.labels.get(CONTINUES, "")).split())
        threading.Thread(target=_beat, args=(run.id, heart, lost_after() / _TRIES), daemon=True).start()
    return heart


def _beat(run: UUID, heart: Heart, every: float) -> None:
    """A server that does not answer may be back at the next beat."""
    said = 0
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": 2 * every}) as client,
    ):
        while heart.over is None:
            with suppress(Exception):  # whatever it is, the work goes on
                here = f"{socket.gethostname()}, process {os.getpid()}"
                client.update_flow_run_labels(run, {BEATS: said, MACHINE: here, LASTS: every * _TRIES})
                said += 1
                heart.over = over(client.read_flow_run_states(run))
            if heart.over is None:
                time.sleep(every)
    stop_all()


def over(states: Sequence[State[None]]) -> State[None] | None:
    """The state of a flow run, if it is to end. states: all that it had

    One that was given up before it began may begin all the same, for the server: if someone starts it anew, it is scheduled first.
    """
    before, now = [None, None, *sorted(states, key=lambda state: state.timestamp)][-2:]
    if now is None or now.is_final() or now.is_cancelling():
        return now
    return before if before is not None and now.is_running() and before.is_crashed() else None


def end_rest_of(runs: Collection[str]) -> None:
    """End the processes on this machine that flow runs left: stopped ones, and stages whose flow was killed."""
    if groups := {group for run, group in of_flow_runs() if run in runs} if runs else set():
        get_run_logger().warning("Processes of the flow run that this one goes on with are still here: they are ended.")
        end(groups)


def ended(over: State[None]) -> State[None]:
    """How a flow run ends that is over at the server."""
    if over.is_cancelling():
        return Cancelled(message="stopped")
    return State(type=over.type, name=over.name, message=over.message)
