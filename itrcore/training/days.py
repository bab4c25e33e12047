"""A training of days on a CPU that nobody asked for: it stops after its first steps, before anything can be lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import torch

from itrcore.costs import words
from itrcore.costs.rates import LONG_ON_CPU
from itrcore.errors import TrainingError

LIMIT = LONG_ON_CPU
_BEGUN = LIMIT / 24  # a training that has taken so long already is not stopped
_STEPS = 3  # that are timed, after a first one that also waits for memory and the first batches


class Unasked:
    """Watches a training whose `training.device` is auto, and which runs on a CPU."""

    def __init__(
        self, asked: str, device: torch.device, steps: int, limit: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """asked: `training.device`; device: what it is; steps: of the whole training; limit: seconds; clock: in seconds"""
        self._watching = asked == "auto" and device.type == "cpu"
        self._steps, self._limit, self._clock = steps, limit, clock
        self._ends: list[float] = []  # of this attempt's first steps

    def step(self, done: int, seconds: float) -> None:
        """A step is done. done: of the whole training; seconds: that it took until it was last saved

        `TrainingError` where what is left would take longer than the limit. The quickest step counts: the machine may be busy.
        """
        if not self._watching:
            return
        self._ends.append(self._clock())
        if len(self._ends) <= _STEPS:
            return
        self._watching = False
        step = min(after - before for before, after in pairwise(self._ends))
        left = (self._steps - done) * step
        if left > self._limit and seconds < _BEGUN:
            raise TrainingError(
                f"no GPU found: the {self._steps - done:,} steps of this training would take about {words.time(left)} on "
                f"this CPU (one takes {step:.2g} s). If you want that, set training.device: cpu in params.yaml; nothing that "
                "was trained is trained again for it. Else run it where there is a GPU, or change its profile "
                "(itr check says what each run costs)."
            )
