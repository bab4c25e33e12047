"""Running one DVC target as a child process: waits for DVC's lock, streams its log, dies with its parent's work.

Plain Python: no Prefect here, so that it can be tested and used without a server.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_LAST_LINES = 15

_running: set[int] = set()
_guard = threading.Lock()


class TargetFailed(RuntimeError):
    """A DVC target ended with an error; the message holds the end of its output."""


def reproduce(target: str, log: Callable[[str], None], env: Mapping[str, str] | None = None) -> None:
    """Run `dvc --wait-for-lock repro -s TARGET`; `TargetFailed` where it fails.

    -s: without it two targets that run at once both check the stages above them, and one fails as "busy".
    --wait-for-lock: without it DVC gives up after 3 s and throws a finished training away.
    log: called with each line of output; env: variables added for the child
    Any exception raised here meanwhile (a cancelled task, a time limit) ends the whole process group first.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", target]
    # The stages' `python` must be this one, also where the environment was not activated.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
    )
    with _guard:
        _running.add(process.pid)
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        for line in _lines(process):
            last.append(line)
            log(line)
        code = process.wait()
    except BaseException:
        _end_group(process.pid)
        process.wait()
        raise
    finally:
        with _guard:
            _running.discard(process.pid)
    if code:
        raise TargetFailed(f"{target} failed (exit status {code}):\n" + "\n".join(last))


def stop_all() -> None:
    """End every running target and all its children."""
    with _guard:
        groups = list(_running)
    for group in groups:
        _end_group(group)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come. Polls, as an exception from another thread reaches this one only between Python's steps."""
    assert process.stdout is not None
    pipe, rest = process.stdout.fileno(), b""
    while True:
        if not select.select([pipe], [], [], 0.5)[0]:
            continue
        chunk = os.read(pipe, 65536)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole if chunk else [rest]:
            if text := line.decode("utf-8", "replace").rstrip():
                yield text
        if not chunk:
            return


def _end_group(group: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            try:
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
