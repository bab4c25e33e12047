"""The Prefect flow: the same DVC targets, at once, without a server; cancelled, it leaves no process behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.flow import leaderboard_table
from flows.targets import TargetFailed, reproduce
from itrcore.progress import ONGOING
from tests.support.project import Project, tiny_params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("flow"))
    params = tiny_params(project.params)
    project.write_params(params)
    project.experiment("mine", {**params, "report": {"title": "mine"}})
    return project


def test_flow_makes_an_experiment_and_touches_no_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = project.folder / "experiments" / "mine"
    steps = project.read("dvc.yaml")
    steps["stages"]["probe"] = {  # a stage that the flow has never heard of
        "foreach": "${runs}",
        "do": {
            "cmd": "cp results/${item.data}/${key}/metrics.json ${key}.probe",
            "deps": ["results/${item.data}/${key}"],
        },
    }
    project.write("experiments/mine/dvc.yaml", steps)
    project.warm_stages("experiments/mine/dvc.yaml")
    before = {".prefect", *(path.name for path in project.folder.iterdir())}
    out = project.run(sys.executable, "-m", "flows.benchmark", "--experiment", "mine", "--jobs", "2").stdout
    check_what_is_read(out, project.folder, mine)
    assert {path.name for path in project.folder.iterdir()} - before == {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        assert store.execute("select name from experiments where name like '%scenes'").fetchall() == [("mine/scenes",)]
    assert "Data and pipelines are up to date." in project.dvc("status", folder=mine)
    assert "train@scenes-esa_bigru-1" in project.dvc("status")  # the experiment of the project's own folder
    assert json.loads((mine / "metrics" / "both.json").read_text("utf-8"))["test/rsum"] > 0
    assert {path.stem for path in mine.glob("*.probe")} == set(project.params["runs"])
    monkeypatch.chdir(mine)
    table = leaderboard_table()
    assert {line["row"] for line in table} == {"vse_pp_bigru/small", "esa_bigru/small", "both"}
    assert all(isinstance(line[key], float) for line in table for key in ("i2t_r1", "t2i_r10", "rsum"))


def check_what_is_read(out: str, start: Path, folder: Path) -> None:
    """A few lines on the terminal, everything in the log file, each task's own lines in Prefect."""
    first, second, *lines = out.splitlines()
    assert first == "Out of date: 1 data set, 2 runs to train, 1 ensemble."
    found = re.fullmatch(r"Results: (\S+)\. All that is printed: (\S+) \(the newest 10 are kept\)\.", second)
    assert found and (start / found[1]).is_file()
    runs = ["scenes-vse_pp_bigru-1", "scenes-esa_bigru-1"]
    titles = {"code, nltk", "prepare scenes", *runs, "ensemble both", "report"}
    # Trainings as short as these may collapse, and then say so.
    own = [line for line in lines if not ONGOING.search(line) and "collapsed" not in line]
    parts = [re.fullmatch(r"\[(\d) of 6\] (.+?): (.+)", line) for line in own]
    told = [part.groups() for part in parts if part]
    assert len(told) == len(parts) == 12
    begun = [(number, title) for number, title, text in told if text == "begins"]
    assert {title for _, title in begun} == titles and sorted(number for number, _ in begun) == [*"123456"]
    ended = {(number, title): text for number, title, text in told if text != "begins"}
    assert ended.keys() == set(begun)
    for (_, title), text in ended.items():
        what = r"test rsum \d+\.\d, i2t R@1 .*" if title in (*runs, "ensemble both") else "done"
        assert re.fullmatch(what + r", in \d+:\d\d", text)
    log = (start / found[2]).read_text("utf-8")
    said = r"\d\d:\d\d:\d\d INFO train@scenes-esa_bigru-1: Training on cpu in float32: 2 epochs of 6 steps, 20 pairs a step\.\n"
    assert re.search(said, log)
    assert re.search(r" scenes-esa_bigru-1: > \S*python -m stages\.train scenes-esa_bigru-1\n", log)
    assert "git add" in log and all(f" flow: {line}\n" in log for line in (first, *lines))
    with sqlite3.connect(folder / ".prefect" / "prefect.db") as store:
        messages = store.execute("select message, task_run_id is null from log").fetchall()
    of_tasks, of_flow = ([text for text, flow in messages if flow == wanted] for wanted in (False, True))
    assert "Training on cpu in float32: 2 epochs of 6 steps, 20 pairs a step." in of_tasks
    assert "Running stage 'train@scenes-esa_bigru-1':" in of_tasks
    advice = ("git", "autostage", "dvc push", "lock file")
    assert not [text for text in of_tasks if any(word in text for word in advice)]
    assert {first, second, *lines} <= set(of_flow)


def test_cancelled_flow_leaves_no_training_behind_and_the_training_goes_on_later(project: Project) -> None:
    copy_store(project, project.folder)
    params = project.params
    params["profiles"]["small"]["recipe"] |= {"epochs": 100_000}
    params["training"]["save_every_steps"] = 5
    project.write_params(params)
    # One at a time: when the first is ended its slot is free, and the second must not take it.
    started = project.start(sys.executable, "-m", "flows.benchmark", "--jobs", "1")
    states = project.folder / "state" / "scenes"
    _wait_for(lambda: list(states.glob("*/step-*/state.json")), 300)
    children = psutil.Process(started.pid).children(recursive=True)
    assert any("stages.train" in " ".join(child.cmdline()) for child in children if child.is_running())
    started.send_signal(signal.SIGTERM)
    started.wait(120)
    assert started.returncode != 0
    # Nobody is left in the folder, also of those that came later, who could try again.
    children += [process for process in psutil.process_iter() if _command(process, project)]
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert len(list(states.glob("*/step-*/state.json"))) == 1  # what the one that ran had done is kept
    params["profiles"]["small"]["recipe"] |= {"epochs": 2}
    project.write_params(params)


def test_some_runs_alone_are_trained_and_recorded(project: Project) -> None:
    out = project.run(sys.executable, "-m", "flows.benchmark", "--runs", "scenes-vse_pp_bigru-1").stdout
    first, second, *lines = out.splitlines()
    assert first == "Out of date: 1 run to train." and second.startswith("Results: results. ")
    assert lines[:2] == ["[1 of 4] code, nltk: up to date", "[2 of 4] prepare scenes: up to date"]
    # The other experiment trained the same, and both have one cache.
    assert re.fullmatch(r"\[3 of 4\] scenes-vse_pp_bigru-1: (restored from DVC's cache|test rsum .+)", lines[-2])
    assert lines[-1] == "[4 of 4] mlflow: up to date"
    assert [path.name for path in (project.folder / "results" / "scenes").iterdir()] == ["scenes-vse_pp_bigru-1"]
    assert not (project.folder / "report").exists()
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        names = store.execute(
            "select runs.name from runs join experiments using (experiment_id) where experiments.name = 'scenes'"
        )
        assert ("scenes-vse_pp_bigru-1",) in names.fetchall()


def test_after_a_failure_all_goes_on_that_can_and_the_flow_fails(project: Project) -> None:
    folder = project.experiment("failing", tiny_params(project.params))
    copy_store(project, folder)
    fails, works = "scenes-esa_bigru-1", "scenes-vse_pp_bigru-1"
    step = {"cmd": "touch ${key}", "outs": ["${key}"]}
    lease = "basename $(readlink /proc/self/fd/0)"  # what stages hold as their standard input
    kept = {"cmd": "touch kept", "deps": [fails], "outs": ["kept"]}
    steps = {
        "made": {"foreach": "${runs}", "do": step},
        "after": {
            "foreach": [fails, works],
            "do": {"cmd": f"(printenv CUDA_VISIBLE_DEVICES; {lease}) > after-${{item}}", "deps": ["${item}"]},
        },
        "kept": kept,
        "last": {"cmd": "touch last", "deps": ["kept"]},
        "all": {"cmd": "touch all", "deps": [fails, works]},
    }
    project.write("experiments/failing/dvc.yaml", {"stages": steps})
    project.dvc("repro", "kept", folder=folder)
    step["cmd"] = f"test ${{key}} != {fails} && touch ${{key}}"
    kept["frozen"] = True
    project.write("experiments/failing/dvc.yaml", {"stages": steps})
    command = (sys.executable, "-m", "flows.benchmark", "--experiment", "failing", "--gpus", "5", "--jobs", "2")
    done = project.run(*command, check=False)
    assert done.returncode == 1
    assert f"error: made@{fails} failed (exit status" in done.stdout
    assert (folder / "last").exists()
    assert (folder / f"after-{works}").read_text("utf-8") == "5\nleases\n"  # the GPU that its task was given
    assert not {"all", f"after-{fails}"} & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--experiment", "mina"], "--experiment: no 'mina' in experiments; did you mean 'mine'? (known: "),
        (["--runs", "scenes-esa_bigru-9"], "params.yaml: run: no 'scenes-esa_bigru-9' in runs; did you mean 'scenes-esa_bigru-1'?"),
        (["--data", "scene"], "params.yaml: data set: no 'scene' in datasets; did you mean 'scenes'?"),
        (["--jobs", "0"], "jobs must be at least 1, not 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_one_clear_error_before_anything_starts(
    project: Project, arguments: list[str], says: str
) -> None:
    done = project.run(sys.executable, "-m", "flows.benchmark", *arguments, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: {says}") and len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "old", "new", "says"),
    [
        ("params.yaml", "seed: 1", "seeds: 1", "params.yaml: runs.scenes-esa_bigru-1: unknown key 'seeds'"),
        ("dvc.yaml", "${downloads}", "${download}", "DVC cannot read the stages: failed to parse 'stages.fetch.foreach'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_error_before_anything_starts(
    project: Project, path: str, old: str, new: str, says: str
) -> None:
    text = (project.folder / path).read_text("utf-8")
    project.replace(path, old, new)
    try:
        done = project.run(sys.executable, "-m", "flows.benchmark", check=False)
    finally:
        (project.folder / path).write_text(text, "utf-8")
    assert done.returncode == 1
    assert done.stdout.startswith(f"error: {says}") and len(done.stdout.splitlines()) == 1


def test_failed_target_raises_with_its_last_lines(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    lines: list[str] = []
    with pytest.raises(TargetFailed, match="no-such-stage"):
        reproduce(["no-such-stage"], lines.append)
    assert lines


def test_exception_from_outside_ends_the_whole_process_group(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "dvc.yaml").write_text("stages:\n  sleepy:\n    cmd: echo started; sleep 600\n", "utf-8")
    monkeypatch.chdir(project.folder)
    children: list[psutil.Process] = []
    before = psutil.Process(os.getpid()).children(recursive=True)  # such as Python's own helpers of earlier tests

    def interrupt(line: str) -> None:
        if line == "started":
            # The guardian, which the first one in a process starts, lives as long as this process; Python's own helpers do too.
            others = (p for p in psutil.Process(os.getpid()).children(recursive=True) if p not in before)
            children.extend(process for process in others if "flows.guardian" not in process.cmdline())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(["sleepy"], interrupt)
    assert any("sleep" in process.name() for process in children if process.is_running()) is False
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def copy_store(project: Project, folder: Path) -> None:
    """Give a folder the store of the first flow: to make one takes Prefect's server longer than all else that it does."""
    shutil.copytree(project.folder / "experiments" / "mine" / ".prefect", folder / ".prefect")


def _command(process: psutil.Process, project: Project) -> str:
    """Its command line if it runs in the project's folder."""
    try:
        return " ".join(process.cmdline()) if process.cwd() == str(project.folder.resolve()) else ""
    except psutil.Error:
        return ""


def _wait_for(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
