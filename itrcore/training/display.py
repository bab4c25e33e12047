"""Progress of a training: a live bar with speed and estimated time on a terminal, one line per evaluation everywhere."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from itrcore.progress import Bars
from itrcore.runs.records import Point


class Display(Bars):
    """A context manager around the training."""

    def __init__(self, steps: int, done: int) -> None:
        """steps: of the whole training; done: already done by an earlier attempt."""
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            keep=True,
        )
        self._task = self.drawn.add_task("starting", total=steps, completed=done, speed="")

    def step(self, epoch: int, epochs: int, loss: float) -> None:
        """One step done; `loss` per pair."""
        task = self.drawn.tasks[self._task]
        speed = f"{task.speed:.1f} steps/s" if task.speed else ""
        text = f"epoch {epoch + 1}/{epochs}  loss {loss:.3f}"
        self.drawn.update(self._task, advance=1, description=text, speed=speed)

    def evaluation(self, point: Point, best_epoch: float) -> None:
        """Dev evaluated: its line stays on the screen and in logs."""
        dev = point.dev
        mark = "  best so far" if point.epoch == best_epoch else ""
        self.say(
            f"epoch {point.epoch:>4g}  loss {point.losses['total']:.4f}  dev rsum {dev.rsum:6.1f}  "
            f"i2t R@1 {dev.i2t_r1:5.1f}  t2i R@1 {dev.t2i_r1:5.1f}  "
            f"{point.pairs_per_second:,.0f} pairs/s  {point.seconds:.1f} s{mark}"
        )
