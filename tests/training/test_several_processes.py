"""A run trained by several processes, as a user starts them: through `training.processes` and through launchers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itrcore.files import read_json
from itrcore.runs import inputs
from tests.support.stamps import unstamped
from tests.support.tiny_project import ROOT, project
from tests.support.warm import python

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "MLFLOW_TRACKING_URI": "",
}


def prepared(folder: Path, processes: int) -> Path:
    params = project(folder, {"training.processes": processes, "training.save_every_steps": 4})
    with contextlib.chdir(folder):
        inputs.write(params, "tiny")
    return folder


def train(folder: Path, *launcher: str, by: str) -> subprocess.Popen[str]:
    command = [by, "-m", *launcher, "stages.train", "one"]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def steps_saved(folder: Path) -> int:
    return max((int(path.name[5:]) for path in (folder / "state" / "tiny" / "one").glob("step-*")), default=0)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_one_is_killed_all_end_with_one_line_and_another_number_goes_on(tmp_path: Path) -> None:
    folder = prepared(tmp_path, 2)
    training = train(folder, by=sys.executable)
    while steps_saved(folder) < 8:
        assert training.poll() is None, training.communicate()
        time.sleep(0.05)
    workers = [pid for pid in children(training.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    killed = time.monotonic()
    os.kill(workers[1], signal.SIGKILL)
    out, err = training.communicate(timeout=60)
    assert time.monotonic() - killed < 15
    assert training.returncode == 1
    assert unstamped(err).splitlines() == [
        "error: process 2 of 2 ended (signal SIGKILL), so all were ended; run it again to go on from the last saved state"
    ]
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert "40 epochs" not in out and " of 2 processes." in out

    params = folder / "params.yaml"
    params.write_text(params.read_text("utf-8").replace("processes: 2", "processes: 1"), "utf-8")
    out, err = train(folder, by=python()).communicate(timeout=300)
    assert err == "" and re.search(r"Going on at epoch \d, step \d+ of 15\.", out), (out, err)
    assert len(read_json(folder / "runs" / "tiny" / "one" / "history.json")["evaluations"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--nproc-per-node", "2", "-m"],
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m"],
    ],
    ids=["torchrun", "accelerate launch"],
)
def test_launchers_start_it_too(launcher: list[str], tmp_path: Path) -> None:
    folder = prepared(tmp_path, 1)
    training = train(folder, *launcher, by=python())
    out, err = training.communicate(timeout=300)
    assert training.returncode == 0, err
    assert out.count(" pairs a step of 2 processes.") == 1
    assert len(read_json(folder / "runs" / "tiny" / "one" / "history.json")["evaluations"]) == 3
