"""Where a training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Epochs and steps done, both from 0, and the share of this epoch that is done."""

    epoch: int
    step: int
    share: float = 0.0
