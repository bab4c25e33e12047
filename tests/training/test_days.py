"""Days on a CPU that nobody asked for stop at the first steps; what was asked for, is short or has begun long ago goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.errors import TrainingError
from itrcore.runs import inputs
from itrcore.training import days
from itrcore.training.days import Unasked
from tests.support.killing import saved
from tests.support.tiny_project import project, train_in, weights, write_params

CPU = torch.device("cpu")


def clock(*steps: float) -> Any:
    """Seconds between one call and the next."""
    now = 0.0

    def ticks() -> Iterator[float]:
        nonlocal now
        for step in steps:
            now += step
            yield now

    return ticks().__next__


def test_the_message_says_steps_time_and_what_to_set() -> None:
    watch = Unasked("auto", CPU, 100_000, days.LIMIT, clock(60, 9, 2, 5))
    for done in (1, 2, 3):
        watch.step(done, 0.0)
    with pytest.raises(TrainingError) as caught:
        watch.step(4, 0.0)
    # 99,996 steps of 2 s are 2.3 days: the first step does not count, and of the others the quickest
    assert str(caught.value).startswith(
        "no GPU found: the 99,996 steps of this training would take about 2.3 days on this CPU (one takes 2 s). "
        "If you want that, set training.device: cpu in params.yaml"
    )


@pytest.mark.parametrize(
    ("asked", "device", "steps", "seconds"),
    [
        ("cpu", "cpu", 100_000, 0.0),  # asked for
        ("auto", "cuda", 100_000, 0.0),  # on a GPU
        ("auto", "cpu", 40_000, 0.0),  # 22 hours
        ("auto", "cpu", 100_000, 3601.0),  # trained for an hour before it was killed
    ],
)
def test_others_go_on(asked: str, device: str, steps: int, seconds: float) -> None:
    watch = Unasked(asked, torch.device(device), steps, days.LIMIT, clock(*[2.0] * 20))
    for done in range(1, 20):
        watch.step(done, seconds)


def test_nothing_is_lost_and_saying_cpu_goes_on_with_the_same_training(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "whole").mkdir()
    project(tmp_path / "whole")
    whole = train_in(tmp_path / "whole")
    changes = {"training.device": "auto", "training.save_every_steps": 1}
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    project(stopped, changes)
    monkeypatch.setattr(days, "LIMIT", 1e-6)
    for kept in (3, 6):  # and again if it is only started again
        with pytest.raises(TrainingError, match=r"no GPU found: .*set training\.device: cpu"):
            train_in(stopped)
        assert saved(stopped).global_step == kept
    write_params(stopped, {**changes, "training.device": "cpu"})
    seen: list[int] = []
    monkeypatch.setattr(Unasked, "step", lambda self, done, seconds: seen.append(done))
    assert weights(train_in(stopped)) == weights(whole)
    assert seen[0] == 7


def test_to_say_cpu_where_auto_was_runs_nothing_again_and_a_gpu_does(tmp_path: Path, monkeypatch: Any) -> None:
    records = {}
    for device in ("auto", "cpu", "cuda", "mps"):
        params = project(tmp_path / device, {"training.device": device})
        monkeypatch.chdir(tmp_path / device)
        records[device] = [record(params, "one") for record in inputs.RECORDS.values()]
    assert records["auto"] == records["cpu"]
    assert all(len({str(records[device][stage]) for device in ("auto", "cuda", "mps")}) == 3 for stage in (0, 1))
