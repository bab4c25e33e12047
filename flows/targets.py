"""Running DVC targets as child processes that wait for DVC's lock, whose output is logged, and which end with the flow.

Plain Python: no Prefect here, so that it can be tested and used without a server.
"""

from __future__ import annotations

import functools
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.guardian import Guardian, end
from itrcore import repro
from itrcore.errors import ITRError, shown

LAST_LINES = 15  # of output, that are told of what failed
_SHELL = 128
_SOONER = "500"  # thousandths of all memory that count beside what a process has; a child's children have it too
_BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")
_BUSY_SECONDS, _LONGEST_SECONDS = 2.0, 30.0
_ENVIRONMENT = repro.environment()  # taken now: flows.server changes this process's for Prefect

_running: set[subprocess.Popen[bytes]] = set()
_stopped = False
_guard = threading.Lock()  # of both
guardian = functools.cache(Guardian)


class TargetFailed(ITRError):
    """A DVC target ended with an error. last: the end of its output"""

    def __init__(self, message: str, last: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.last = tuple(last)


def reproduce(
    targets: Sequence[str],
    log: Callable[[str], None],
    extra: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> None:
    """Run `dvc --wait-for-lock repro -s TARGET …`, the targets in this order; `TargetFailed` where one fails.

    -s: without it two targets that run at once both check the stages above them, and one fails as "busy".
    log: called with each line of output; extra: variables added for the child; stdin: the child's standard input
    Any exception raised here meanwhile (a cancelled task, a time limit) ends the whole process group first.
    """
    last: deque[str] = deque(maxlen=LAST_LINES)
    errors: list[str] = []

    def hear(line: str) -> None:
        last.append(line)
        if line.startswith("ERROR:"):
            errors.append(line)
        log(line)

    pause = 0.0
    while (code := run(repro.command("-s", *targets), hear, extra, stdin)) and any(
        part in line for line in errors for part in _BUSY
    ):
        errors.clear()
        # Such as for a dvc repro by hand. --wait-for-lock waits for DVC's lock alone, not for the notes of what its processes use.
        if not pause:
            log("Waiting for another process of DVC.")
        if changed(*targets) == {}:  # DVC wants for itself what it only looks at, while others read it
            return
        repro.release_dead()
        pause = min(pause + _BUSY_SECONDS, _LONGEST_SECONDS)
        time.sleep(pause)
    if errors and (lost := _not_stored(targets)):
        raise TargetFailed(
            f"{', '.join(lost)} ran, but DVC could not store what it made. Make room for DVC's cache "
            f"({_dvc('cache', 'dir')}), then run: dvc commit -f {' '.join(lost)}",
            last,
        )
    if code:
        raise TargetFailed(_why(code, " ".join(targets), "\n".join(errors)), last)


def _why(code: int, targets: str, errors: str) -> str:
    """What failed, and where a signal ended it, what to do. code: the exit status; errors: those that DVC printed"""
    named = re.search(r"failed to reproduce '(.+?)'", errors)
    name = named[1] if named else targets
    ended = re.search(r"exited with (-?\d+)", errors)  # the stage itself; a shell adds 128 to the signal's number
    status = int(ended[1]) if ended else code
    number = -status if status < 0 else status - _SHELL
    if number == signal.SIGKILL:
        return (
            f"{name} was killed by signal 9 (SIGKILL). Most often the system does that when the machine's memory runs out: lower "
            "--jobs, or in params.yaml training.micro_batch, evaluation.batch_size or a profile's recipe.batch_size"
        )
    if any(number == known for known in signal.Signals):
        return f"{name} was ended by signal {number} ({signal.Signals(number).name})"
    return f"{name} failed (exit status {code})"


def run(
    command: Sequence[str],
    log: Callable[[str], None],
    extra: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> int:
    """The exit status of a command that ends with the flow; `log`, `extra` and `stdin` as for `reproduce`."""
    with _guard:
        if _stopped:
            raise TargetFailed(f"{' '.join(command[-1:])} was not started: the flow is being stopped")
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=stdin,
            start_new_session=True,
            env={**_ENVIRONMENT, "PYTHONUNBUFFERED": "1", **(extra or {})},
        )
        with suppress(
            OSError
        ):  # where memory runs out, the system ends a child before the flow and its server; only on Linux
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(_SOONER, "ascii")
        _running.add(process)
        guardian().watch(process.pid)
    try:
        for line in _lines(process):
            log(line)
        return process.wait()
    except BaseException:
        end([process.pid], process.poll)
        raise
    finally:
        with _guard:
            _running.discard(process)
            guardian().release(process.pid)


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
    end([process.pid for process in processes], lambda: [process.poll() for process in processes])


def stopped() -> bool:
    """Whether targets are kept from starting."""
    return _stopped


def changed(*targets: str) -> dict[str, list[Any]] | None:
    """What DVC finds changed: target → changes, of these targets, of all without one. None where it cannot say."""
    try:
        changes: dict[str, list[Any]] = json.loads(_dvc("status", "--json", *targets))
    except ValueError:
        return None
    return changes


def _not_stored(targets: Sequence[str]) -> list[str]:
    """Those whose outputs are not in DVC's cache: where its disk is full, DVC prints errors, goes on, and may exit with 0."""
    return [
        target
        for target, found in (changed(*targets) or {}).items()
        if any(
            "not in cache" in change.get("changed outs", {}).values() for change in found if isinstance(change, dict)
        )
    ]


def _dvc(*arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    return subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, errors="replace").stdout.strip()


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
            if text := line.decode("utf-8", "replace").expandtabs().rstrip():
                yield shown(text)
        if not chunk:
            return
