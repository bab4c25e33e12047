"""What counts as lost, without a server: `test_up.py` kills what works, and `python -m tests.faults.campaign` does worse."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas import State, StateType

from flows.heartbeat import SETTING, lost_after, over
from flows.watch import Silence
from itrcore.errors import ConfigError


def history(*types: StateType) -> list[State[None]]:
    """States of a flow run, the newest first, as no order is promised."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [State(type=each, timestamp=begin + timedelta(seconds=at)) for at, each in enumerate(types)][::-1]


def test_only_what_this_process_saw_counts_as_silence() -> None:
    alive, dead = uuid4(), uuid4()
    silence = Silence()
    assert silence.seconds({alive: 1, dead: 1}, most=10) == {alive: 0, dead: 0}
    time.sleep(0.05)
    heard = silence.seconds({alive: 2, dead: 1}, most=10)
    assert heard[alive] == 0 and heard[dead] >= 0.05
    time.sleep(0.05)
    slept = silence.seconds({alive: 2, dead: 1}, most=0.01)  # nobody could say anything meanwhile
    assert slept[alive] == pytest.approx(0.01) and slept[dead] - heard[dead] == pytest.approx(0.01)
    assert silence.seconds({dead: 2}, most=10) == {dead: 0}


def test_a_flow_run_that_was_given_up_before_it_began_is_over_unless_someone_starts_it_anew() -> None:
    pending, crashed, running = StateType.PENDING, StateType.CRASHED, StateType.RUNNING
    assert over(history(running)) is None and over([]) is None
    assert over(history(StateType.SCHEDULED, pending, running)) is None
    for types in ((pending, crashed, running), (pending, running, crashed)):
        ended = over(history(*types))
        assert ended is not None and ended.is_crashed()
    assert over(history(pending, crashed, StateType.SCHEDULED, pending, running)) is None
    for last in (StateType.CANCELLING, StateType.CANCELLED, StateType.COMPLETED):
        ended = over(history(pending, running, last))
        assert ended is not None and ended.type == last


def test_a_wrong_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("0", "a minute", "nan"):
        monkeypatch.setenv(SETTING, wrong)
        with pytest.raises(ConfigError, match=f"{SETTING} is '{wrong}'"):
            lost_after()
