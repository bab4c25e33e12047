"""Stage `fetch@<name>`: what a download's parts name, into `downloads/<name>`, and the record of it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from itrcore import layout
from itrcore.fetch.parts import fetch
from itrcore.fetch.progress import Progress
from itrcore.settings.params import Params
from stages import run_stage


class Shown(Progress):
    """A bar for each file on a terminal; what is finished is one line, there and elsewhere."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def bytes(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of `what`; a full one goes."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what)
        self._bars.update(self._tasks[what], completed=done, total=total)
        if done == total:
            self._bars.remove_task(self._tasks.pop(what))

    def say(self, line: str) -> None:
        """Print the line above the bars."""
        self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)


def main(params: Params, name: str) -> None:
    """Fetch every part of the download."""
    parts = params.download(name)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        fetch(name, parts, layout.DOWNLOADS, Shown(bars))


if __name__ == "__main__":
    run_stage(main)
