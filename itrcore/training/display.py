"""Progress of a training: a live bar with speed and estimated time on a terminal, one line per evaluation everywhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from itrcore.runs.records import Point


class Display:
    """A context manager around the training."""

    def __init__(self, steps: int, done: int) -> None:
        """steps: of the whole training; done: already done by an earlier attempt."""
        self._console = Console()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=steps, completed=done, speed="")

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, epochs: int, loss: float) -> None:
        """One step done; `loss` per pair."""
        task = self._bar.tasks[self._task]
        speed = f"{task.speed:.1f} steps/s" if task.speed else ""
        self._bar.update(self._task, advance=1, description=f"epoch {epoch + 1}/{epochs}  loss {loss:.3f}", speed=speed)

    def evaluation(self, point: Point, best_epoch: float) -> None:
        """Dev evaluated: its line stays on the screen and in logs."""
        dev = point.dev
        mark = "  best so far" if point.epoch == best_epoch else ""
        self._console.print(
            f"epoch {point.epoch:>4g}  loss {point.losses['total']:.4f}  dev rsum {dev.rsum:6.1f}  "
            f"i2t R@1 {dev.i2t_r1:5.1f}  t2i R@1 {dev.t2i_r1:5.1f}  "
            f"{point.pairs_per_second:,.0f} pairs/s  {point.seconds:.1f} s{mark}",
            highlight=False,
            soft_wrap=True,
        )
