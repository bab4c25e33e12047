"""What flows in one folder do with a task that both have."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flows.graph import DATASETS, RUNS, Stage, grouped
from flows.plan import claimed
from flows.spread import lendable
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


def test_another_machine_makes_only_runs_that_read_nothing_of_others() -> None:
    def of(name: str, item: str, *reads: str, block: str = RUNS) -> Stage:
        return Stage(f"{name}@{item}", name, item, block, reads)

    trained = [of("train", item, "shards@x") for item in "ab"]
    stages = [
        of("shards", "x", block=DATASETS),
        *trained,
        of("judge", "a", "train@a"),
        of("pair", "a", "train@a", "train@b"),
    ]
    assert [task.targets for task in lendable(grouped(stages))] == [["train@a", "judge@a"], ["train@b"]]
