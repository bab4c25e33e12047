"""How long the sections may take: what one leaves goes to the next, and what has no time left is skipped."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Seconds of one section."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + seconds

    def left(self) -> float:
        """Seconds; below 0 where it took too long."""
        return self._end - self._now()

    def room(self, needed: float = 0.0) -> bool:
        """Whether there is time for something that takes about so many seconds."""
        return self.left() > needed


def shared(total: float, shares: dict[str, float], asked: list[str]) -> dict[str, float]:
    """Seconds of each section that is asked for: those of the others are divided among these. shares: of the total"""
    whole = sum(shares[name] for name in asked)
    return {name: total * shares[name] / whole for name in asked}
