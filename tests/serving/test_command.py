"""`itr serve` as a user starts and stops it, and what it says where it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from itrcore.cli.app import app
from tests.serving.conftest import SETS, VECTORS
from tests.support.picture_data import encoded, photo
from tests.support.tiny_project import ROOT


def test_it_serves_a_folder_and_ctrl_c_stops_it_while_clients_are_connected(project: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(photo(number)))
    command = [
        sys.executable,
        "-m",
        "itrcore.cli",
        "serve",
        f"runs/tiny/{VECTORS}",
        "--pictures",
        str(tmp_path),
        "--port",
        "0",
    ]
    served = subprocess.Popen(
        [*command, "--device", "cpu", "--host", "0.0.0.0", "--log", "--json"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert served.stdout is not None and served.stderr is not None
        told = json.loads(served.stdout.readline())
        assert (told["run"], told["pictures"], told["pid"]) == (VECTORS, 3, served.pid)
        address = told["address"]
        with requests.Session() as session:  # its connection stays open
            answer = session.post(f"{address}/api/search", json={"text": "a circle"}, timeout=30).json()
            assert sorted(each["name"] for each in answer["results"]) == ["0.jpg", "1.jpg", "2.jpg"]
            assert "Or drop a picture here: similar ones are searched" in session.get(address, timeout=30).text
            began = time.monotonic()
            served.send_signal(signal.SIGINT)
            said, complained = served.communicate(timeout=30)
        assert time.monotonic() - began < 10 and served.returncode == 0
        warning, *log, last = complained.splitlines()
        assert said == "" and last == "stopped" and '"path": "/api/search", "status": 200' in "".join(log)
        assert warning.startswith("warning: --host 0.0.0.0: whoever reaches ")
    finally:
        served.kill()
        served.wait()


def test_where_it_cannot_start_one_line_says_why(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            ([VECTORS, "--port", port], f"127.0.0.1, port {port}: cannot listen there (Address already in use)"),
            ([VECTORS, "--port", "0", "--host", "no.such.host.invalid"], "no.such.host.invalid, port 0: cannot listen there ("),
            ([VECTORS, "--port", "0", "--pictures", str(tmp_path)], f"{tmp_path}: no pictures in it; expected files that end in "),
            ([VECTORS, "--port", "0", "--pictures", "none"], "none: no such folder; expected the folder of the pictures"),
            ([VECTORS, "--port", "0", "--pictures", "x", "--data", "tiny"], "--pictures, --data and --index all say what"),
            ([VECTORS, "--port", "0", "--data", "other"], "no data set other is prepared here; expected the folder of its"),
            (["--port", "0"], "no run; expected one, or --index and the folder of an index"),
            (["--port", "0", "--index", "none"], "none/index.json: no such file; expected the folder of an index"),
            (["vectors", "--port", "0"], "params.yaml: run: no 'vectors' in runs"),
            ([SETS, "--port", "0", "--pictures", "data/tiny/raw"], f"{SETS} reads region features of width 16, and its record"),
        ):  # fmt: skip
            done = CliRunner().invoke(app, ["serve", *arguments, "--device", "cpu"])
            assert done.exit_code == 1, done.output
            assert said in " ".join(done.output.split()), (said, done.output)
