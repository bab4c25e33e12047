"""Processes beside this one: they end with it, in whatever way, and say nothing of Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

_PROGRAM = """
import time
from itrcore.pool import pool

def prepare(): print("begun", flush=True)

time.sleep({imports})  # in a worker: before it can be prepared
if __name__ == "__main__":
    with pool(2, prepare) as workers:
        print("started", flush=True)
        list(workers.map(time.sleep, [600, 600]))
"""


@pytest.mark.parametrize(("number", "imports"), [(signal.SIGINT, 0), (signal.SIGKILL, 0), (signal.SIGKILL, 1)])
def test_workers_end_with_it_and_only_it_speaks(tmp_path: Path, imports: int, number: int) -> None:
    path = tmp_path / "program.py"
    path.write_text(_PROGRAM.format(imports=imports), "utf-8")
    process = subprocess.Popen(
        [sys.executable, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    awaited = ["started\n"] if imports else ["started\n", "begun\n", "begun\n"]
    while awaited:
        awaited.remove(process.stdout.readline())
    children = psutil.Process(process.pid).children()
    assert len(children) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.kill()
    output, _ = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert output.count("Traceback") == 1  # its own, which a command makes one line
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
