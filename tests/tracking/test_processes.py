"""MLflow with real processes: first users of a fresh store at the same moment, a server that dies, a quiet terminal."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from itrcore.runs import inputs
from itrcore.runs.records import Point, Run
from itrcore.settings.load import load
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from tests.support.stamps import unstamped
from tests.support.tiny_project import ROOT, project, rewrite, stage, train_in, weights
from tests.support.warm import python

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A project, as the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIRST_USE = """
import sys, time
from pathlib import Path
import mlflow
from itrcore.runs.records import Run
from itrcore.tracking.tracker import Tracker
folder, tracker = Path(sys.argv[1]), Tracker()
run = Run.model_validate_json((folder / "run.json").read_bytes())
print("ready", flush=True)
sys.stdin.readline()
tracker.finish(tracker.open(run, None), folder)
"""


def together(program: str, arguments: str) -> None:
    """Run a process for each argument; they begin when all are ready, and say nothing."""
    Path("together.py").write_text(program, "utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [python(), "-m", "together", argument],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for argument in arguments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output = process.communicate()[0]
        assert process.returncode == 0 and output == "", output  # nothing about tables and migrations either


def test_four_processes_may_be_the_first_users_of_a_fresh_store_at_the_same_moment(folder: Path) -> None:
    run = train_in(folder)
    for name in "abcd":
        shutil.copytree(run, folder / name)
        rewrite(folder / name / "run.json", name=name)
    together(FIRST_USE, "abcd")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [known for known in client.search_experiments() if known.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in runs) == [(name, "FINISHED") for name in "abcd"]
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert len(database.execute("select * from alembic_version").fetchall()) == 1


RECORD = """
import sys
from pathlib import Path
from itrcore.tracking.tracker import Tracker
tracker = Tracker()
tracker._client
print("ready", flush=True)
sys.stdin.readline()
for _ in range(10):
    assert tracker.record(Path(sys.argv[1], "runs/tiny/one"), Path(sys.argv[1], "results/tiny/one"))
"""


def test_two_processes_that_mark_at_the_same_moment_leave_one_current_run(folder: Path, templates: Path) -> None:
    shutil.copy(templates / "mlflow.db", folder)
    for name in "ab":
        shutil.copytree(templates / "project", folder / name)
        rewrite(folder / name / "runs" / "tiny" / "one" / "run.json", code_version=name)
    together(RECORD, "ab")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [known for known in client.search_experiments() if known.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["current"] for run in runs) == ["false", "true"]


def test_the_terminal_of_a_first_training_shows_the_training_alone(folder: Path) -> None:
    inputs.write(load(), "tiny")
    process = stage(folder, "train", "one")
    output = process.communicate()[0]
    assert process.returncode == 0, output
    begins, *lines = (
        line for line in unstamped(output).splitlines() if "collapsed" not in line
    )  # as a training so short may be
    assert begins == "Training on cpu in float32: 3 epochs of 15 steps, 8 pairs a step."
    assert len(lines) == 3 and all(re.match(r"epoch +\d  loss \d", line) for line in lines), output


def test_the_use_of_the_machine_is_logged_for_a_training_of_seconds_and_goes_on_when_it_goes_on(folder: Path) -> None:
    run = Run.model_validate_json((train_in(folder) / "run.json").read_bytes())
    steps: list[list[int]] = []
    tracking_id = None
    for _ in range(2):
        observer = LiveTraining(Tracker())
        tracking_id = observer.begin(run, tracking_id)
        assert tracking_id is not None
        client, name = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), "system/cpu_utilization_percentage"
        # MLflow's own rate is a sample every ten seconds: a training of seconds would have none.
        before, deadline = len(client.get_metric_history(tracking_id, name)), time.monotonic() + 9
        while len(client.get_metric_history(tracking_id, name)) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        observer.fail()
        steps.append([metric.step for metric in client.get_metric_history(tracking_id, name)])
    assert steps[0] and steps[1][: len(steps[0])] == steps[0] and len(set(steps[1])) == len(steps[1]) > len(steps[0])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An MLflow server on this machine, with its own store and artifacts."""
    home = tmp_path / "server"
    home.mkdir()
    options = {"host": "127.0.0.1", "port": "0", "workers": "1", "backend-store-uri": "sqlite:///x.db"}
    options["artifacts-destination"] = str(home / "artifacts")
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = open(home / "log", "wb")  # noqa: SIM115 (closed below)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *(f"--{key}={value}" for key, value in options.items())],
        cwd=home,
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not (address := re.search(r"running on (http://127\.0\.0\.1:\d+)", (home / "log").read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((home / "log").read_text()[-2000:])
            time.sleep(0.1)
        yield address[1], process
    finally:
        end(process)
        log.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End the server with its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def test_a_server_holds_the_runs_and_its_death_in_mid_training_costs_no_result(
    server: tuple[str, subprocess.Popen[bytes]], folder: Path, monkeypatch: Any, capsys: Any
) -> None:
    address, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    run = train_in(folder, "one", LiveTraining(Tracker()))
    whole = weights(run)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert (logged.info.status, logged.data.tags["current"]) == ("FINISHED", "true")
    assert Tracker().unmark_others([])
    assert client.get_run(logged.info.run_id).data.tags["current"] == "false"
    copies = list((folder / "server" / "artifacts").rglob("model.safetensors"))
    assert [path.read_bytes() for path in copies] == [whole]  # in the server's store, not in a folder of ours
    assert not (folder / "mlflow.db").exists() and not (folder / "mlartifacts").exists()

    class Dying(LiveTraining):
        def evaluation(self, point: Point) -> None:
            if point.evaluation == 2:
                end(process)
            super().evaluation(point)

    shutil.rmtree(run)
    capsys.readouterr()
    assert weights(train_in(folder, "one", Dying(Tracker()))) == whole
    errors = capsys.readouterr().err
    assert errors.count("warning:") == 1 and f"MLflow at {address} failed" in errors, errors
