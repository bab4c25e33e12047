"""What people read of a flow: a few lines while it runs. All that its targets print is in one file."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from itrcore.progress import EVERY, ONGOING, clock
from itrcore.spoken import STAMP, level, stamped
from itrcore.terminal import warn

FOLDER = "logs"  # in the experiment's folder
KEPT = 10
_ENDED = 86_400.0  # seconds: whoever has written nothing for so long writes no more
_LATE = 5.0  # seconds: a line that a target says every minute may come so much later
# Advice of DVC that comes with every target.
CHATTER = re.compile(
    r"(Generating|Updating) lock file|To (track the changes with git|enable auto staging), run:"
    r"|\s+(git add|dvc config core\.autostage)\b|Use `dvc push`"
)
_WANTED = re.compile(r"(Going on at|Out of memory|The training (has|is no longer)) ")  # and what is serious
_RESULT = re.compile(r": (test rsum .*)")

Say = Callable[[str], None]
Also = Callable[[int, str], None]  # of a level of Python's logging


class Log:
    """The file, and lines for people, which stand there too. Threads may share it."""

    def __init__(self, folder: Path, *hearers: Say, name: str = "benchmark") -> None:
        """folder: the experiment's; its newest logs of this name are kept, and those that a flow may still write.

        hearers: are told each line for people. `OSError` of the file
        """
        logs = folder.resolve() / FOLDER
        logs.mkdir(exist_ok=True)
        for old in sorted(logs.glob(f"{name}-[0-9][0-9][0-9][0-9]-*.log"))[: 1 - KEPT]:
            with suppress(FileNotFoundError):  # another flow was faster
                if time.time() - old.stat().st_mtime > _ENDED:
                    old.unlink()
        self._file = _new(logs, name)
        self.path = os.path.relpath(self._file)  # from where people are
        self.total = 0  # tasks of the flow
        self._numbers: dict[str, int] = {}
        self._said: list[str] = []
        self._going_on: list[TaskLog] = []
        self._hearers = list(hearers)
        self._lock = threading.RLock()
        self._whole = True

    def write(self, who: str, line: str) -> None:
        """Only into the file, with time, level and name unless it has them. A full disk there costs a warning and not the work."""
        with self._lock:
            try:
                with open(self._file, "a", encoding="utf-8") as file:
                    file.write(f"{line if STAMP.match(line) else stamped(who, line)}\n")
            except OSError as error:
                if self._whole:
                    warn(f"{self.path} is not complete: {error.strerror}")
                self._whole = False

    def say(self, line: str) -> None:
        """To people."""
        with self._lock:
            self.write("flow", line)
            self._said.append(line)
            for hear in self._hearers:
                with suppress(OSError):  # the reader of a pipe may be gone
                    hear(line)

    def tell(self, hear: Say) -> None:
        """Someone else hears every line, those before too."""
        with self._lock:
            for line in self._said:
                hear(line)
            self._hearers.append(hear)

    def number(self, title: str) -> str:
        """`[3 of 12]` for the third task that begins; another try keeps its number."""
        with self._lock:
            return f"[{self._numbers.setdefault(title, len(self._numbers) + 1)} of {self.total}]"

    @contextmanager
    def task(self, title: str, also: Also) -> Iterator[TaskLog]:
        """One try of a task, while it goes on. also: told every line but DVC's advice, with its level, such as Prefect's log"""
        task = TaskLog(self, title, also)
        self._going_on.append(task)
        try:
            yield task
        finally:
            self._going_on.remove(task)

    def remind(self) -> None:
        """Name each task that goes on and has said nothing for a minute, such as one whose files DVC reads."""
        for task in list(self._going_on):
            task.remind()


def _new(logs: Path, name: str) -> Path:
    """An empty file that no other flow has."""
    while True:
        path = logs / f"{name}-{time.strftime('%Y-%m-%d-%H%M%S')}.log"
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
        time.sleep(0.1)


class TaskLog:
    """What one try of a task prints: all of it into the file, and for people what they want to know. Made by `Log.task`."""

    def __init__(self, log: Log, title: str, also: Also) -> None:
        self._log, self._title, self._also = log, title, also
        self._name = f"{log.number(title)} {title}"
        self._began = self._said = time.monotonic()
        self._runs = self._restored = False
        self._result = "done"

    def hear(self, line: str) -> None:
        """A line that a target printed; those of its stages are stamped."""
        self._log.write(self._title, line)
        stamp = STAMP.match(line)
        line = line[stamp.end() :] if stamp else line
        serious = level(line)
        if not CHATTER.match(line):
            self._also(logging.getLevelNamesMapping()[stamp[1] if stamp else serious], line)
        if line.startswith("Running stage ") and not self._runs:
            self._runs = True
            self._say("begins")
        elif found := _RESULT.search(line):
            self._result = found[1]
        elif serious != "INFO" or _WANTED.match(line) or ONGOING.search(line):
            self._say(line)
        self._restored |= " is cached - skipping run" in line

    def remind(self) -> None:
        """Say that it goes on, if it has said nothing for a minute."""
        now = time.monotonic()
        if now - self._said > EVERY + _LATE:
            self._say(f"at work, {clock(now - self._began)} so far")

    def done(self) -> None:
        """All of its targets are made."""
        ran = f"{self._result}, in {clock(time.monotonic() - self._began)}"
        otherwise = "restored from DVC's cache" if self._restored else "up to date"
        self._say(ran if self._runs else otherwise)

    def failed(self, error: Exception, again: float | None) -> None:
        """again: seconds until it is tried once more; None: it is not"""
        for line in str(error).splitlines():
            self._log.write(self._title, f"error: {line}")
        then = "" if again is None else f"; it is tried once more in {again:g} seconds"
        self._say(f"failed{then}. What it printed is in {self._log.path}")

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._log.say(f"{self._name}: {line}")
