"""How `dvc repro` is started as a child process: by this Python, which the stages' `python` is too. And who else runs one."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_LOCKS = Path(".dvc", "tmp", "rwlock")  # in which DVC notes what its processes read and write
_SECONDS = 2.0  # between two looks


def command(*arguments: str) -> list[str]:
    """`dvc --wait-for-lock repro ARGUMENT …`.

    --wait-for-lock: without it DVC gives up after 3 s and throws a finished training away.
    """
    return [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]


def environment() -> Mapping[str, str]:
    """This process's, in which `python` is this Python even where its environment was not activated."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path}


def wait_until_free(say: Callable[[str], None]) -> None:
    """Wait until no process of DVC runs a stage of the experiment in the working directory: ours would fail as "busy"."""
    waits = False
    while running := {lock["pid"] for lock in _locks(_read()) if _is_dvc(lock["pid"])}:
        if not waits:
            say(f"Waiting for another process of DVC ({', '.join(map(str, sorted(running)))}).")
        waits = True
        time.sleep(_SECONDS)


def release_dead() -> None:
    """Take out of DVC's notes what is no process of DVC: DVC itself takes any process with the number of a dead one for it."""
    with open(_LOCKS.with_suffix(".lock"), "ab") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # as DVC does
        noted = _read()
        dead = [lock for lock in _locks(noted) if not _is_dvc(lock["pid"])]
        if dead:
            write = {path: lock for path, lock in noted.get("write", {}).items() if lock not in dead}
            read = {path: [lock for lock in locks if lock not in dead] for path, locks in noted.get("read", {}).items()}
            _LOCKS.write_text(
                json.dumps({"write": write, "read": {path: left for path, left in read.items() if left}}), "utf-8"
            )


def _read() -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads(_LOCKS.read_text("utf-8"))
    except (OSError, ValueError):  # none, or it is being written
        return {}
    return noted


def _locks(noted: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*noted.get("write", {}).values(), *(lock for locks in noted.get("read", {}).values() for lock in locks)]


def _is_dvc(process: int) -> bool:
    import psutil

    try:
        return any("dvc" in word for word in psutil.Process(process).cmdline())  # a zombie has none
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True
