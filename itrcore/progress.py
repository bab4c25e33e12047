"""How far long work has come: who is told, bars on a terminal, and elsewhere a line every minute.

Bars would fill a log, so a log gets lines. rich is loaded only when something is shown.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Self

from itrcore.errors import shown
from itrcore.spoken import on_terminal

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Count = Callable[[int, int], None]  # done, in all
Show = Callable[[str, int, int | None], None]  # `Watcher.show`

EVERY = 60.0  # seconds between two lines of a log
ONGOING = re.compile(r", (\d+:)?\d+:\d\d (left|so far)$")  # how each of them ends

_Lines = Callable[[], Iterable[str]]
_going_on: list[_Lines] = []  # the outermost work first
_hushed = False


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing of progress is shown or said meanwhile."""
    global _hushed
    before, _hushed = _hushed, True
    try:
        yield
    finally:
        _hushed = before


def is_hushed() -> bool:
    """Whether progress is kept quiet now."""
    return _hushed


def clock(seconds: float) -> str:
    """`1:05`, or `2:01:05` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class Pace:
    """How fast a piece of work goes, measured over its last lines.

    What was done before the first call does not count: an earlier attempt's work, and the first step, which is slow.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.done = 0
        self.total: int | None = None
        self._marks = deque[tuple[float, int]](maxlen=10)  # (seconds, done) at the first call and at the last lines
        self._latest = (0.0, 0)

    def tell(self, done: int, total: int | None, now: float | None = None) -> None:
        """`done` of `total`. now: seconds of a clock that stands still while other work is done; None: of the usual one"""
        self.done, self.total = done, total
        self._latest = (time.monotonic() if now is None else now, done)
        if not self._marks:
            self._marks.append(self._latest)

    @property
    def speed(self) -> float | None:
        """Units per second; None where it is not known yet."""
        if not self._marks:
            return None
        (start, before), (end, done) = self._marks[0], self._latest
        return (done - before) / (end - start) if done > before and end > start else None

    def mark(self) -> None:
        """A line was written: a slow hour at the beginning is soon forgotten."""
        if self._marks and self._marks[-1] != self._latest:
            self._marks.append(self._latest)

    def time(self, left: float | None = None) -> str:
        """How a line ends. left: seconds; None: from the speed"""
        if left is None and self.speed and self.total is not None:
            left = (self.total - self.done) / self.speed
        return f"{clock(time.monotonic() - self.began)} so far" if left is None else f"{clock(left)} left"


@contextmanager
def at_work(lines: _Lines) -> Iterator[None]:
    """While this goes on, say these lines every minute, but only where standard output is no terminal.

    lines: called from another thread. If work inside this one has lines, those are said in their place.
    """
    from rich.console import Console

    if _hushed or Console().is_terminal:
        yield
        return
    ended = threading.Event()
    teller = threading.Thread(target=_say_lines, args=(ended,), daemon=True)
    _going_on.append(lines)
    if len(_going_on) == 1:
        teller.start()
    try:
        yield
    finally:
        _going_on.remove(lines)
        ended.set()
        if teller.ident is not None:  # it was started
            teller.join(1.0)  # it ends at once, unless it writes into a pipe that nobody reads


def _say_lines(ended: threading.Event) -> None:
    while not ended.wait(EVERY):
        for lines in reversed(list(_going_on)):
            if said := list(lines()):
                with suppress(OSError):  # the reader of a pipe may be gone, a disk full: the work itself will find out
                    print("".join(f"{shown(line)}\n" for line in said), end="", flush=True)  # in one piece
                break


def working(what: str) -> AbstractContextManager[None]:
    """Say every minute that this goes on, where nothing inside says more: its length is not known."""
    pace = Pace()
    return at_work(lambda: [f"{what}, {pace.time()}"])


class Watcher:
    """Is told how far each piece of work has come, and does nothing; `Bars` shows it."""

    def show(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` of `what`; total is None where it is unknown."""

    def say(self, line: str) -> None:
        """A line for people: something is finished, or given up."""


SILENT = Watcher()


class Bars(Watcher):
    """A bar or a line every minute for each piece of work, and other lines above. A context manager around the work."""

    def __init__(
        self, *columns: ProgressColumn, keep: bool = False, amount: Callable[[int], str] = "{:,}".format
    ) -> None:
        """columns: of each bar; keep: full bars stay on the screen; amount: how a number is written in lines"""
        from rich.console import Console
        from rich.progress import Progress

        self.console = Console()
        self.terminal = self.console.is_terminal
        self.drawn = Progress(*columns, console=self.console, transient=not keep, disable=_hushed or not self.terminal)
        self._keep, self._amount = keep, amount
        self._paces: dict[str, Pace] = {}
        self._at_work = at_work(self.lines)

    def __enter__(self) -> Self:
        self.drawn.start()
        self._at_work.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._at_work.__exit__(None, None, None)
        self.drawn.stop()

    def show(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of this name, a new one where there is none."""
        what = shown(what)
        task = next((task.id for task in self.drawn.tasks if task.description == what), None)
        task = self.drawn.add_task(what, total=None) if task is None else task
        self.drawn.update(task, completed=done, total=total)
        self._paces.setdefault(what, Pace()).tell(done, total)
        if done == total:
            del self._paces[what]
            if not self._keep:
                self.drawn.remove_task(task)

    def lines(self) -> Iterable[str]:
        """What a log is told every minute: a line for each piece of work that is not done."""
        for what, pace in list(self._paces.items()):
            of = "" if pace.total is None else f" of {self._amount(pace.total)}"
            yield f"{what}: {self._amount(pace.done)}{of}, {pace.time()}"
            pace.mark()

    def say(self, line: str) -> None:
        """Print the line above the bars."""
        if not _hushed:
            self.console.print(shown(line), highlight=False, markup=False, soft_wrap=True)
            on_terminal(shown(line), sys.stdout)


def count_bars(keep: bool = False) -> Bars:
    """Bars of counts, with the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        keep=keep,
    )


def byte_bars() -> Bars:
    """Bars of bytes, with speed and the time left."""
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        amount=decimal,
    )


@contextmanager
def counting(title: str, unit: str) -> Iterator[Count]:
    """Yield a hook (done, in all): one bar on a terminal, one closing line elsewhere. unit: of what is counted, such as images"""
    with count_bars(keep=True) as bars:

        def count(done: int, total: int) -> None:
            bars.show(title, done, total)
            if done == total and not bars.terminal:
                bars.say(f"{title}: {total:,} {unit}")

        yield count
