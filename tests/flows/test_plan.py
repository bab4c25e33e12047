"""What flows in one folder do with a task that both have."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flows.plan import claimed
from flows.targets import TargetFailed, allow, stop_all


def test_a_task_is_run_by_one_flow_at_a_time_and_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with claimed("prepare a/b", lambda: (order.append("waits"), waits.set())[1]):
            order.append("second")

    flow = threading.Thread(target=second)
    with claimed("prepare a/b", lambda: order.append("never")), claimed("another", lambda: order.append("never")):
        flow.start()
        assert waits.wait(30)
        order.append("first")
    flow.join(30)
    assert order == ["waits", "first", "second"]


def test_what_waits_ends_when_its_flow_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with claimed("a", lambda: None):
        try:
            with pytest.raises(TargetFailed, match="the flow is being stopped"), claimed("a", stop_all):
                raise AssertionError("it was not waited for")
        finally:
            allow()
