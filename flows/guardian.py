"""Ends what a flow started, however the flow itself ends: a process that outlives it. Run as python -m flows.guardian."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import psutil

_GRACE = 1.5  # seconds between SIGTERM and SIGKILL


class Guardian:
    """Told of process groups, it ends those that are left when this process is gone, even by SIGKILL.

    It needs no message for that: it reads from a pipe that the system closes.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, start_new_session=True, encoding="utf-8", bufsize=1
        )

    def watch(self, group: int) -> None:
        """From now on."""
        self._tell(f"+{group}")

    def release(self, group: int) -> None:
        """Its processes have ended."""
        self._tell(f"-{group}")

    def close(self) -> None:
        """End what is left now, and itself. The caller's children are collected: it must be about to end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while self._process.poll() is None:
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)  # a dead child that is not collected counts as a member of its group
            time.sleep(0.02)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # someone has killed it: the flow works without
            self._process.stdin.write(f"{line}\n")


def end(groups: Collection[int], collect: Callable[[], object] = lambda: None) -> None:
    """SIGTERM to process groups and to those that their leaders' children are in, then SIGKILL to what is left of them.

    collect: called now and then. Until its parent has collected it, a dead child counts as a member of its group.
    """
    left = {*groups, *_inner(groups)}
    for sent in (signal.SIGTERM, signal.SIGKILL):
        number: int = sent
        deadline = time.monotonic() + _GRACE
        while left and time.monotonic() < deadline:
            collect()
            left = {group for group in left if _reached(group, number)}
            number = 0  # sent once; from now on only look whether the group is still there
            time.sleep(0.02)


def _inner(groups: Collection[int]) -> Iterator[int]:
    """Groups of their own that children have, as Prefect's worker gives them to its flow runs."""
    for group in groups:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(group).children(recursive=True):
                with suppress(ProcessLookupError):
                    yield os.getpgid(child.pid)


def of_flow_runs(home: str = "") -> Iterator[tuple[str, int]]:
    """Flow runs that workers on this machine have started, and the process groups of each, those of its targets too.

    home: only of workers with this PREFECT_HOME
    """
    found = set[tuple[str, int]]()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            environment = process.environ()  # inherited by all that a flow starts
            if (run := environment.get("PREFECT__FLOW_RUN_ID")) and home in ("", environment.get("PREFECT_HOME")):
                found.add((run, os.getpgid(process.pid)))
    yield from found


def _reached(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _main() -> None:
    groups = set[int]()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    end(groups)


if __name__ == "__main__":
    _main()
