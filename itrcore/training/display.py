"""Progress of a training: a live bar on a terminal, a line every minute elsewhere, one line per evaluation everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from itrcore.progress import Bars, Pace
from itrcore.runs.records import Point


class Display(Bars):
    """A context manager around the training."""

    def __init__(self, epochs: int, steps: int, batch_size: int, evaluations: int, done: int, evaluated: int) -> None:
        """steps, evaluations: of an epoch; done, evaluated: steps and evaluations of earlier attempts; batch_size: in pairs."""
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
        self._epochs, self._batch_size = epochs, batch_size
        self._steps, self._evaluations = epochs * steps, epochs * evaluations - evaluated  # to come, of the latter
        self._done = done
        self._pace = Pace()
        self._doing = "starting"
        self._dev = ""
        self._evaluating = ""
        self._aside, self._evaluated = 0.0, 0  # seconds of evaluations, and how many, in this process
        self._began = 0.0  # the one that goes on
        self._task = self.drawn.add_task(self._doing, total=self._steps, completed=done, speed="")

    def step(self, epoch: int, loss: float) -> None:
        """One step done; `loss` per pair."""
        self._done += 1
        self._pace.tell(self._done, self._steps, time.monotonic() - self._aside)
        self._doing = f"epoch {epoch + 1} of {self._epochs}, step {self._done:,} of {self._steps:,}, loss {loss:.3f}"
        task = self.drawn.tasks[self._task]
        speed = f"{task.speed:.1f} steps/s" if task.speed else ""
        text = f"epoch {epoch + 1}/{self._epochs}  loss {loss:.3f}"
        self.drawn.update(self._task, advance=1, description=text, speed=speed)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around an evaluation on dev, whose parts are given to `show`."""
        self._began = time.monotonic()
        self._evaluating = "evaluating on dev"
        yield
        self._evaluating = ""
        self._aside += time.monotonic() - self._began
        self._evaluated += 1

    def show(self, what: str, done: int, total: int | None) -> None:
        """How far an evaluation is; the bar stays that of the training."""
        self._evaluating = f"evaluating on dev: {done:,} of {total:,} {what}"
        self.drawn.update(self._task, description=self._evaluating)

    def lines(self) -> Iterable[str]:
        """What a log is told every minute: where the training is, and the time left, evaluations included once one was timed."""
        speed, left = self._pace.speed, None
        if speed:
            left = (self._steps - self._done) / speed
            if self._evaluated:
                of_this = time.monotonic() - self._began if self._evaluating else 0.0
                left += max(0.0, (self._evaluations - self._evaluated) * self._aside / self._evaluated - of_this)
        pairs = f"{speed * self._batch_size:,.0f} pairs/s" if speed else ""
        yield ", ".join(filter(None, (self._doing, self._evaluating, self._dev, pairs, self._pace.time(left))))
        self._pace.mark()

    def evaluation(self, point: Point, best_epoch: float) -> None:
        """Dev evaluated: its line stays on the screen and in logs."""
        dev = point.dev
        self._dev = f"dev rsum {dev.rsum:.1f}"
        mark = "  best so far" if point.epoch == best_epoch else ""
        self.say(
            f"epoch {point.epoch:>4g}  loss {point.losses['total']:.4f}  dev rsum {dev.rsum:6.1f}  "
            f"i2t R@1 {dev.i2t_r1:5.1f}  t2i R@1 {dev.t2i_r1:5.1f}  "
            f"{point.pairs_per_second:,.0f} pairs/s  {point.seconds:.1f} s{mark}"
        )
