"""Running DVC targets as a child process that waits for DVC's lock, whose output is logged, and which ends with the flow.

Plain Python: no Prefect here, so that it can be tested and used without a server.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from itrcore import repro
from itrcore.errors import ITRError

_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_LAST_LINES = 15

_running: set[subprocess.Popen[bytes]] = set()
_stopped = False
_guard = threading.Lock()  # of both


class TargetFailed(ITRError):
    """A DVC target ended with an error; the message holds the end of its output."""


def reproduce(targets: Sequence[str], log: Callable[[str], None], env: Mapping[str, str] | None = None) -> None:
    """Run `dvc --wait-for-lock repro -s TARGET …`, the targets in this order; `TargetFailed` where one fails.

    -s: without it two targets that run at once both check the stages above them, and one fails as "busy".
    log: called with each line of output; env: variables added for the child
    Any exception raised here meanwhile (a cancelled task, a time limit) ends the whole process group first.
    """
    with _guard:
        if _stopped:
            raise TargetFailed(f"{' '.join(targets)} was not started: the flow is being stopped")
        process = subprocess.Popen(
            repro.command("-s", *targets),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**repro.environment(), "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        _running.add(process)
    last: deque[str] = deque(maxlen=_LAST_LINES)
    try:
        for line in _lines(process):
            last.append(line)
            log(line)
        code = process.wait()
    except BaseException:
        _end_group(process)
        raise
    finally:
        with _guard:
            _running.discard(process)
    if code:
        raise TargetFailed(f"{' '.join(targets)} failed (exit status {code}):\n" + "\n".join(last))


def allow() -> None:
    """Let targets start, also after an earlier flow of this process was stopped."""
    global _stopped
    with _guard:
        _stopped = False


def stop_all() -> None:
    """End every running target and all its children, and start no more: no retry, and nothing that waits."""
    global _stopped
    with _guard:
        _stopped = True
        processes = list(_running)
    for process in processes:
        _end_group(process)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come. Polls: an exception from another thread reaches this one only between steps of Python code."""
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


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, then SIGKILL to what is left of it."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        number: int = sent
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline:
            process.poll()  # until its parent has collected it, a dead child counts as a member of its group
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return
            number = 0  # sent once; from now on only look whether the group is still there
            time.sleep(0.05)
