"""What is known of a trial of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Curve = list[tuple[int | float, float]]  # (epochs done, rsum on dev) of each evaluation
End = Literal["finished", "pruned", "failed"]
State = Literal[End, "going on", "stopped", "waiting"]


@dataclass(frozen=True)
class Trained:
    """One training of a trial that came to its end: its best rsum on dev, epochs done by then, seconds of training, its curve."""

    rsum: float
    epoch: int | float
    seconds: float
    curve: Curve

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Trained:
        """What its values were before JSON had them."""
        return cls(**{**known, "curve": [tuple(point) for point in known["curve"]]})


@dataclass(frozen=True)
class Trial:
    """A trial, as its study has it.

    number: from 1; values: path in a profile → value; why: a failed one failed
    state: `stopped` where it has begun, and no process goes on with it
    rsum: of a finished one, the mean over its seeds; epoch: of a pruned one, when it was ended
    trained: by seed; curve: of the first seed by whole epochs, which the pruner judges
    """

    number: int
    values: Mapping[str, Any]
    state: State
    rsum: float | None
    epoch: int | None
    why: str | None
    trained: Mapping[int, Trained]
    curve: Curve

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.state in ("finished", "pruned", "failed")
