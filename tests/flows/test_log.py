"""What people read of a flow, and what it says first: of lines and stages made by hand, without DVC and Prefect."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows import outlook as module
from flows.graph import Stage, Task
from flows.log import KEPT, Log, TaskLog
from flows.outlook import outlook
from itrcore import layout
from itrcore.spoken import STAMP, level
from tests.support.tiny_project import PARAMS, project, rewrite, train_in, write_params


def test_a_task_says_what_people_want_to_know_and_the_file_has_everything(tmp_path: Path) -> None:
    said: list[str] = []
    passed: list[tuple[int, str]] = []
    log = Log(tmp_path, said.append)
    log.total = 3
    log.say("first")
    log.number("code")
    task = TaskLog(log, "one", lambda serious, line: passed.append((serious, line)))
    chatter = [
        "Updating lock file 'dvc.lock'",
        "To track the changes with git, run:",
        "        git add dvc.lock",
        "To enable auto staging, run:",
        "        dvc config core.autostage true",
        "Use `dvc push` to send your updates to remote storage.",
    ]
    wanted = [
        "Going on at epoch 2, step 3 of 12.",
        "epoch 4 of 12, step 40 of 120, loss 0.532, dev rsum 312.4, 1,240 pairs/s, 1:20 left",
        "evaluate one, 1:00:00 so far",
        "The training has collapsed: effective rank of images 3.1, of captions 1.0",
        "The training is no longer collapsed.",
        "warning: MLflow does not answer",
        "error: runs/one: damaged",
        "ERROR: failed to reproduce 'train@one'",
        "2026/11/28 03:00:00 WARNING mlflow.x: slow",
        "/lib/torch/x.py:12: UserWarning: deprecated",
    ]
    others = [
        "epoch    1  loss 0.5320  dev rsum  312.4  i2t R@1  12.5  t2i R@1  12.5  179 pairs/s  0.7 s  best so far",
        "> python -m stages.train one",
        "tiny: 40 left",
        "the error is small",
    ]
    result = "one: test rsum 360.8, i2t R@1 44.7, t2i R@1 23.9"
    lines = ["Running stage 'train@one':", *wanted, *others, "Running stage 'judge@one':", *chatter, result]
    stamp = "2026-11-28 03:00:01 {} train@one: "  # of stages; DVC's own lines have none
    of_stage = {line: f"{stamp.format(level(line))}{line}" for line in (wanted[0], wanted[5], wanted[6], result)}
    for line in lines:
        task.hear(of_stage.get(line, line))
    task.done()
    assert said[:-1] == ["first", "[2 of 3] one: begins", *(f"[2 of 3] one: {line}" for line in wanted)]
    assert said[-1] == "[2 of 3] one: test rsum 360.8, i2t R@1 44.7, t2i R@1 23.9, in 0:00"
    told = {line: serious for serious, line in passed}
    assert [line for line in lines if line not in told] == chatter
    assert [line for line in lines if told.get(line) == logging.WARNING] == [wanted[5], *wanted[8:]]
    assert [line for line in lines if told.get(line) == logging.ERROR] == wanted[6:8]
    text = (tmp_path / "logs").joinpath(Path(log.path).name).read_text("utf-8")
    written = [re.fullmatch(rf"{STAMP.pattern}(.*)", line) for line in text.splitlines()]
    found = [(each[2], each[3]) for each in written if each is not None]
    assert len(found) == len(written)
    kept = [("train@one" if line in of_stage else "one", line) for line in lines]
    assert [each for each in found if each[0] != "flow"] == kept
    assert [line for who, line in found if who == "flow"] == said
    later: list[str] = []
    log.tell(later.append)
    assert later == said


def test_numbers_follow_the_order_in_which_tasks_begin(tmp_path: Path) -> None:
    said: list[str] = []
    log = Log(tmp_path, said.append)
    log.total = 4
    one, two = (TaskLog(log, title, lambda *_: None) for title in ("one", "two"))
    two.hear("Stage 'train@two' is cached - skipping run, checking out outputs")
    two.done()
    one.hear("Running stage 'train@one':")
    one.failed(OSError("no room\non the disk"), again=5)
    assert Path(log.path).read_text("utf-8").count(" one: error: ") == 2  # why
    three = TaskLog(log, "three", lambda *_: None)
    three.hear("Stage 'train@three' didn't change, skipping")
    three.done()
    again = TaskLog(log, "one", lambda *_: None)
    again.failed(OSError("no room"), again=None)
    assert said == [
        "[2 of 4] two: restored from DVC's cache",
        "[1 of 4] one: begins",
        f"[1 of 4] one: failed; it is tried once more in 5 seconds. What it printed is in {log.path}",
        "[3 of 4] three: up to date",
        f"[1 of 4] one: failed. What it printed is in {log.path}",
    ]


def test_a_task_that_is_silent_for_a_minute_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("flows.log.time.monotonic", lambda: now)
    said: list[str] = []
    log = Log(tmp_path, said.append)
    log.total = 2
    with log.task("silent", lambda *_: None), log.task("one", lambda *_: None) as other:
        for seconds in range(5, 185, 5):
            now = 1000.0 + seconds
            if seconds % 60 == 0:
                other.hear(f"step {seconds}, 1:00 left")
            log.remind()
    now += 100
    log.remind()  # they are over
    of_other = [f"[2 of 2] one: step {seconds}, 1:00 left" for seconds in (60, 120, 180)]
    assert [line for line in said if line not in of_other] == [
        "[1 of 2] silent: at work, 1:10 so far",
        "[1 of 2] silent: at work, 2:20 so far",
    ]
    assert [line for line in said if line in of_other] == of_other


def test_the_newest_logs_are_kept(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    names = [f"benchmark-2020-01-{day:02}-000000.log" for day in range(1, 13)]
    for name in (*names, "mine.txt"):
        (logs / name).touch()
    for name in names[1:]:
        os.utime(logs / name, (0, 0))
    log = Log(tmp_path)
    kept = sorted(path.name for path in logs.glob("benchmark-*"))
    going_on, *others = kept
    assert going_on == names[0]  # by a flow that wrote a moment ago
    assert len(others) == KEPT and others[:-1] == names[-KEPT + 1 :] and others[-1] == Path(log.path).name
    assert (logs / "mine.txt").exists()


def test_a_log_that_cannot_be_written_costs_one_warning_and_no_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    log = Log(tmp_path, said.append)
    path = next((tmp_path / "logs").iterdir())
    path.unlink()
    path.symlink_to("/dev/full")
    log.say("one")
    log.say("two")
    assert said == ["one", "two"]
    assert capsys.readouterr().err == f"warning: {log.path} is not complete: No space left on device\n"


RECORDS = {"one": "tiny", "two": "tiny", "three": "tiny"}


def tasks(runs: Sequence[str] = tuple(RECORDS), ensembles: Sequence[str] = ("both", "last")) -> list[Task]:
    """The stages of dvc.yaml, of a data set, runs and ensembles."""
    data = "datasets"
    stages = [
        Stage("code", "code"),
        Stage("raw@tiny", "raw", "tiny", data, ("code",)),
        Stage("shards@tiny", "shards", "tiny", data, ("raw@tiny", "code")),
        Stage("inputs@tiny", "inputs", "tiny", data, ("shards@tiny", "code")),
    ]
    for run in runs:
        stages += [
            Stage(f"train@{run}", "train", run, "runs", ("inputs@tiny",)),
            Stage(f"evaluate@{run}", "evaluate", run, "runs", (f"train@{run}", "inputs@tiny")),
            Stage(f"judge@{run}", "judge", run, "runs", (f"evaluate@{run}", "code")),
        ]
    for name in ensembles:
        read = tuple(f"evaluate@{run}" for run in runs)
        stages.append(Stage(f"members@{name}", "members", name, "ensembles", (*read, "code")))
        stages.append(Stage(f"ensemble@{name}", "ensemble", name, "ensembles", (f"members@{name}",)))
    stages.append(Stage("report", "report", None, None, tuple(f"judge@{run}" for run in runs)))
    return [Task(stages, [], [])]


def everything() -> list[str]:
    return [stage.target for task in tasks() for stage in task.stages]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([everything()], "Out of date: 1 data set, 3 runs to train, 2 ensembles. As shipped, this takes long."),
        ([[]], "Everything is up to date."),
        ([["report"]], "Out of date: report."),
        ([["code"], []], "Everything is up to date."),  # a comment: the record of the code is the same
        ([["code"], ["judge@one", "judge@two"]], "Out of date: 2 runs to evaluate."),
        ([["inputs@tiny"], ["train@one"]], "Out of date: 1 run to train, 1 ensemble."),
        ([["evaluate@three"]], "Out of date: 1 run to evaluate, 1 ensemble."),
        ([["ensemble@last"]], "Out of date: 1 ensemble."),
        ([["raw@tiny"]], "Out of date: 1 data set, 3 runs to train, 2 ensembles. As shipped, this takes long."),
        (
            [None],
            "At most 1 data set, 3 runs to train, 2 ensembles are out of date: DVC does not say which.",
        ),
    ],
)
def test_it_says_first_what_is_out_of_date(
    found: list[Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """found: what DVC says is changed, and after the records are made again"""
    ensembles = {"both": ["one", "two"], "last": ["two", "three"]}
    params = project(
        tmp_path,
        {f"ensembles.{name}": {"data": "tiny", "runs": runs} for name, runs in ensembles.items()}
        | {"runs.three": {"data": "tiny", "method": "gpo", "seed": 2}},
    )
    monkeypatch.chdir(tmp_path)
    made: list[list[str]] = []
    answers = iter(found)
    monkeypatch.setattr(module, "changed", lambda: next(answers))
    monkeypatch.setattr(module, "run", lambda command, log: made.append(command[command.index("-s") + 1 :]))
    assert outlook(params, tasks(), 2, "long", lambda *_: None) == says
    assert made == ([["code", "inputs@tiny"]] if found[0] == ["code"] else [found[0]] if len(found) > 1 else [])


def test_the_time_is_what_was_measured_for_as_much_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = project(tmp_path)
    for name in ("one", "two"):
        train_in(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("one", 600.0), ("two", 120.0)):
        rewrite(layout.run("tiny", name) / "run.json", train_seconds=seconds)

    def says(*found: str, jobs: int = 1) -> str:
        monkeypatch.setattr(module, "changed", lambda: found)
        return outlook(params, tasks(("one", "two"), ()), jobs, "long", lambda *_: None)

    assert says("train@two") == "Out of date: 1 run to train. Training takes about 2:00, as it did the last time."
    assert says("train@one", "train@two").endswith(" about 12:00, as it did the last time.")
    assert says("train@one", "train@two", jobs=2).endswith(" about 10:00, as it did the last time.")
    assert says("shards@tiny") == "Out of date: 1 data set, 2 runs to train. As shipped, this takes long."
    params = write_params(tmp_path, {"methods.gpo.recipe": {**PARAMS["methods"]["gpo"]["recipe"], "epochs": 30}})
    assert says("train@one", "train@two") == "Out of date: 2 runs to train."  # of one of them nothing is known
    assert says("train@one").endswith(" about 10:00, as it did the last time.")
