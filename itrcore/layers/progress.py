"""Where a training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Epochs done, steps done over all epochs, and the share of this epoch that is done, from 0 to below 1."""

    epoch: int
    step: int
    share: float = 0.0
