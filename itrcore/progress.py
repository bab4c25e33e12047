"""How far long work has come: who is told, and the bars that show it.

Bars are drawn only on a terminal, as they would fill a log; lines are printed everywhere. rich is loaded only when something
is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from itrcore.errors import shown

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Count = Callable[[int, int], None]  # done, in all
Show = Callable[[str, int, int | None], None]  # `Watcher.show`


class Watcher:
    """Is told how far each piece of work has come, and does nothing; `Bars` shows it."""

    def show(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` of `what`; total is None where it is unknown."""

    def say(self, line: str) -> None:
        """A line for people: something is finished, or given up."""


SILENT = Watcher()


class Bars(Watcher):
    """A bar for each piece of work, and lines above the bars. A context manager around the work."""

    def __init__(self, *columns: ProgressColumn, keep: bool = False) -> None:
        """columns: of each bar; keep: full bars stay on the screen"""
        from rich.console import Console
        from rich.progress import Progress

        self.console = Console()
        self.terminal = self.console.is_terminal
        self.drawn = Progress(*columns, console=self.console, transient=not keep, disable=not self.terminal)
        self._keep = keep

    def __enter__(self) -> Self:
        self.drawn.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.drawn.stop()

    def show(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of this name, a new one where there is none."""
        what = shown(what)
        task = next((task.id for task in self.drawn.tasks if task.description == what), None)
        task = self.drawn.add_task(what, total=None) if task is None else task
        self.drawn.update(task, completed=done, total=total)
        if done == total and not self._keep:
            self.drawn.remove_task(task)

    def say(self, line: str) -> None:
        """Print the line above the bars."""
        self.console.print(shown(line), highlight=False, markup=False, soft_wrap=True)


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
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
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
