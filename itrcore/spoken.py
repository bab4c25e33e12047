"""Who speaks, when, and how serious it is: what stands before each line of a process where a file keeps it, and not a terminal.

    2026-11-28 16:41:18 INFO train@scenes-esa_bert-1: Going on at epoch 3, step 1 of 120.

Whoever wants to hear all that this process says gets the same lines, on a terminal too.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING|ERROR) (\S+): ?")
_SERIOUS = (
    ("ERROR", re.compile(r"error: |Traceback \(most recent|.*(\b(ERROR|CRITICAL)\b|\b[A-Z]\w+(Error|Exception): )")),
    ("WARNING", re.compile(r"warning: |.*(\bWARNING\b|\b[A-Z]\w+Warning: )")),
)
_UNENDED = 1 << 16  # characters that are kept of a line that does not end

Hear = Callable[[str], None]
_hearers: list[Hear] = []
_who = ""


def level(line: str) -> str:
    """INFO, WARNING or ERROR: of a line of ours, of a library's log, of DVC's, of what Python warns of or ends with."""
    return next((name for name, said in _SERIOUS if said.match(line)), "INFO")


def stamped(who: str, line: str, serious: str | None = None) -> str:
    """The line as a file keeps it. serious: its level, where it is known"""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {serious or level(line)} {who}: {line}"


class Stamped:
    """A stream into a file or a pipe whose lines are stamped, in one piece each. All else is as the stream has it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""
        self._level = "INFO"  # of the line before: those that are indented belong to it
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Whole lines go on at once; a line that is written over, such as a bar, is as a terminal shows it at the end."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._rest = self._rest.rpartition("\r")[2][-_UNENDED:]
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
            for at, line in enumerate(lines):
                self._level = self._level if line[:1].isspace() else level(line)
                lines[at] = stamped(_who, line, self._level)
            self._stream.write("".join(f"{line}\n" for line in lines))
            _tell(lines)
        return len(text)

    def end(self) -> None:
        """What is left of a line."""
        if self._rest:
            self.write("\n")


def on_terminal(text: str, stream: TextIO) -> None:
    """Lines of ours have gone to this stream: if it is not stamped itself, whoever wants to hear them is told here."""
    if _hearers and not isinstance(stream, Stamped):
        _tell([stamped(_who, line) for line in text.split("\n")])


def _tell(lines: Sequence[str]) -> None:
    for hear in list(_hearers):
        for line in lines:
            hear(line)


@contextmanager
def speaking(who: str) -> Iterator[None]:
    """Meanwhile this process says who it is on what it prints into files. who: in one word; within another one it is the same"""
    global _who
    if _who:
        yield
        return
    _who, before = who, (sys.stdout, sys.stderr)
    sys.stdout, sys.stderr = (stream if stream.isatty() else Stamped(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Stamped):
                stream.end()
        _who, (sys.stdout, sys.stderr) = "", before


@contextmanager
def heard(by: Hear) -> Iterator[None]:
    """Meanwhile it is called with each line, stamped, by any thread."""
    _hearers.append(by)
    try:
        yield
    finally:
        _hearers.remove(by)
