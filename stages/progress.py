"""A progress bar for stages that go through a data set's images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a hook (done, total); a bar on a terminal, one closing line elsewhere."""
    console = Console()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title, total=None)

    def hook(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if done == total and not console.is_terminal:
            console.print(f"{title}: {total:,} images", highlight=False)

    with bar:
        yield hook
