"""What a training says of itself where its output is no terminal: at once how long it is, then a line every minute."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from itrcore.progress import ONGOING
from itrcore.runs import inputs
from itrcore.runs.records import Metrics, Point
from itrcore.training.display import Display
from tests.support.stamps import unstamped
from tests.support.tiny_project import project

SHORTENED = """
import runpy, sys, time  # a minute is a tenth of a second, and a step takes as long
from itrcore import progress
progress.EVERY = 0.1
from itrcore.training import loop
from itrcore.training.step import Stepper
step, score = Stepper.take, loop.score
def slow_step(*given):
    time.sleep(0.1)
    return step(*given)
def slow_score(*given, show):
    show("pairs scored", 100, 320)
    time.sleep(0.25)
    return score(*given, show=show)
Stepper.take, loop.score = slow_step, slow_score
sys.argv = ["train.py", "one"]
runpy.run_module("stages.train", run_name="__main__")
"""
STEP = r"epoch {} of 2, step {} of 12, loss [\d.]+"


def test_a_training_into_a_pipe_says_at_once_what_it_does_and_every_minute_where_it_is(tmp_path: Path) -> None:
    recipe = {"epochs": 2, "batch_size": 20, "schedule": {"kind": "step", "epochs": [1], "factor": 0.1}}
    params = project(tmp_path, {f"methods.esa.recipe.{key}": value for key, value in recipe.items()})
    with contextlib.chdir(tmp_path):
        inputs.write(params, "tiny")
    done = subprocess.run([sys.executable, "-c", SHORTENED], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    begins, said = (
        "Training on cpu in float32: 2 epochs of 6 steps, 20 pairs a step.",
        unstamped(done.stdout).splitlines(),
    )
    before, lines = said[: said.index(begins)], said[said.index(begins) + 1 :]
    assert all(re.fullmatch(r"train one, 0:\d\d so far|Building the method, .*", line) for line in before)
    evaluations = [line for line in lines if line.startswith("epoch    ")]
    assert len(evaluations) == 2
    # So few steps with hardest negatives teach it nothing.
    lines = [line for line in lines if line not in evaluations and "has collapsed" not in line]
    assert all(ONGOING.search(line) for line in lines)
    steps = [line for line in lines if "step" in line]
    assert (
        12 <= len(steps) <= 30
    )  # twelve steps of a tenth of a second, two evaluations of a quarter, on a busy machine
    text = "\n".join(steps)
    assert re.search(STEP.format(1, r"[3-6]") + r", [1-9]\d* pairs/s, 0:\d\d left", text)
    assert re.search(
        STEP.format(1, 6) + r", evaluating on dev: 100 of 320 pairs scored, \d+ pairs/s, 0:\d\d left", text
    )
    assert re.search(STEP.format(2, r"\d+") + r", dev rsum [\d.]+, \d+ pairs/s, 0:\d\d left", text)


def _point(rsum: float) -> Point:
    figures = dict.fromkeys(Metrics.model_fields, 1.0) | {"rsum": rsum}
    return Point(
        evaluation=1,
        epoch=1,
        learning_rate=1.0,
        losses={"total": 1.0},
        dev=Metrics(**figures),
        seconds=1.0,
        pairs_per_second=1.0,
    )


def test_the_time_left_is_measured_from_its_own_steps_and_evaluations(monkeypatch: Any) -> None:
    """A training of 3 epochs of 100 steps that goes on after 150: its first step takes a minute, the others a second."""
    now = 1000.0
    monkeypatch.setattr("itrcore.progress.time.monotonic", lambda: now)
    display = Display(epochs=3, steps=100, batch_size=8, evaluations=1, done=150, evaluated=1)
    assert list(display.lines()) == ["starting, 0:00 so far"]
    now += 60
    display.step(1, 0.5)
    assert list(display.lines()) == ["epoch 2 of 3, step 151 of 300, loss 0.500, 1:00 so far"]
    for _ in range(49):
        now += 1
        display.step(1, 0.25)
    assert list(display.lines()) == ["epoch 2 of 3, step 200 of 300, loss 0.250, 8 pairs/s, 1:40 left"]
    with display.evaluating():
        now += 30
        display.show("captions encoded", 2000, 5000)
        assert list(display.lines()) == [
            "epoch 2 of 3, step 200 of 300, loss 0.250, evaluating on dev: 2,000 of 5,000 captions encoded, 8 pairs/s, 1:40 left"
        ]
        display.evaluation(_point(rsum=312.44), best_epoch=1)
    now += 1
    display.step(2, 0.125)  # one more evaluation of half a minute is to come
    assert list(display.lines()) == ["epoch 3 of 3, step 201 of 300, loss 0.125, dev rsum 312.4, 8 pairs/s, 2:09 left"]


def test_the_bar_of_a_terminal_says_how_far_an_evaluation_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "160"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with Display(3, 100, 8, 1, done=0, evaluated=0) as display:
        display.step(0, 0.5)
        with display.evaluating():
            display.show("captions encoded", 2000, 5000)
    shown = capsys.readouterr().out
    assert "evaluating on dev: 2,000 of 5,000 captions encoded" in shown and "1/300" in shown
