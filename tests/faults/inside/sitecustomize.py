"""Python runs this file first in every process of a trial. It notes a process's writes, strikes at one of them, sets its clock.

    ITR_TRACE=FILE      add a line to FILE for each write: which process, which path
    ITR_STRIKE=JSON     at write `write` of process `process`, and `delay` seconds later, send `signal` to `whom`: `group`,
                        `dvc` or `self`; the file `mark` says that it was sent
    ITR_CLOCK=SECONDS   the clock that Python code reads is behind by this much

A process is named `dvc`, or as `dvc.yaml` starts it: `train scenes-esa-1`. Write 0 is its start, before it imports anything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

_EVENTS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _name() -> str:
    words = sys.orig_argv
    module, *rest = words[words.index("-m") + 1 :] if "-m" in words else [""]
    return " ".join([module.removeprefix("stages."), *rest[:1]]) if module.startswith("stages.") else module


def _parent_named_dvc() -> int:
    """The nearest parent that is DVC: there may be a shell between."""
    pid = os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"-m\0dvc\0" in file.read():
                return pid
    return os.getpid()


class _Striker:
    def __init__(self, strike: dict[str, Any]) -> None:
        self._strike = strike
        self._left = strike["write"] + 1

    def count(self, path: str) -> None:
        self._left -= 1
        if self._left == 0:
            if delay := self._strike["delay"]:
                threading.Thread(target=self._hit, args=(path, delay), daemon=True).start()
            else:
                self._hit(path, 0)

    def _hit(self, path: str, delay: float) -> None:
        time.sleep(delay)
        whom, number = self._strike["whom"], signal.Signals[self._strike["signal"]]
        with open(self._strike["mark"], "w") as file:
            file.write(path)
        if whom == "group":
            os.killpg(0, number)
        else:
            os.kill(_parent_named_dvc() if whom == "dvc" and _name() != "dvc" else os.getpid(), number)


def _watch(trace: str | None, strike: dict[str, Any] | None) -> None:
    name, here = _name(), os.getcwd()
    striker = _Striker(strike) if strike and strike["process"] == name else None
    log = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if trace else None

    def write(path: str) -> None:
        if log is not None:
            os.write(log, f"{name}\t{path}\n".encode())
        if striker:
            striker.count(path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or (
            event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITING)
        ):
            return
        if isinstance(arguments[0], str | os.PathLike):
            path = os.path.relpath(os.fspath(arguments[0]), here)
            if not path.startswith("..") and "__pycache__" not in path:
                write(path)

    sys.addaudithook(hook)
    write("")


if clock := os.environ.get("ITR_CLOCK"):
    _real = time.time
    time.time = lambda: _real() - float(clock)
if os.environ.keys() & {"ITR_TRACE", "ITR_STRIKE"} and _name():
    _watch(os.environ.get("ITR_TRACE"), json.loads(os.environ.get("ITR_STRIKE", "null")))
