"""`itr up` in a project of its own: started, asked over HTTP, and ended."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from tests.support.project import Project

READY = "Ctrl-C stops"


def ask(url: str, body: Any = None, user: str | None = None, **headers: str) -> tuple[int, Any]:
    """The status of an answer, and what it holds. body: to post, as JSON; user: and password"""
    headers |= {"Content-Type": "application/json"}
    if user is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    request = Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def wait_for(condition: Any, seconds: float) -> Any:
    """What it says first that is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return found


@dataclass
class Up:
    """A project in which `itr up` runs. said: up to where it waits for Ctrl-C"""

    project: Project
    process: subprocess.Popen[str]
    prefect: str
    mlflow: str
    said: str

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self, word: str) -> None:
        """One of its processes, with its group."""
        found = [child for child in psutil.Process(self.process.pid).children() if word in child.cmdline()]
        os.killpg(found[0].pid, signal.SIGKILL)


def free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]  # at once, so that they differ
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def start(project: Project, *options: str) -> Up:
    """`itr up` on ports that are free; what says nothing for 12 seconds is lost."""
    prefect, mlflow = free_ports(2)
    ports = ("--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    command = ("env", "ITR_LOST_AFTER=12", sys.executable, "-m", "itrcore.cli", "up")
    process = project.start(*command, *ports, *options)
    return Up(project, process, f"http://127.0.0.1:{prefect}/api", f"http://127.0.0.1:{mlflow}/api/2.0/mlflow", "")


def started(up: Up, ready: str = READY) -> Up:
    """Once it is ready, and so its last line holds this."""
    assert up.process.stdout is not None
    for line in up.process.stdout:
        up.said += line
        if ready in line:
            return up
    raise AssertionError(up.said)


def end(up: Up) -> None:
    with up.process:  # which may be done again
        up.process.kill()
