"""The kinds of faults. Each is drawn from a seeded generator, says what it is, and disturbs one trial.

A trial yields its `Finding`s; none means that the results are the undisturbed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.faults.damage import Damage
from tests.faults.fill import Fill
from tests.faults.kill import Kill
from tests.faults.orchestration import Orchestrated
from tests.faults.outcome import Finding, Outcome, compared, last_line, seen
from tests.faults.pipeline import DVC, Pipeline


class Fault(Protocol):
    """One disturbance; `str` of it says which."""

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        """Disturb the pipeline, then let it finish."""


@dataclass(frozen=True)
class Clock:
    """Another result takes the place of one that MLflow holds, while the clock is behind."""

    run: str
    again: str
    behind: int

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline) -> Clock:
        """Seconds to weeks."""
        return cls(
            random.choice(pipeline.runs), random.choice(["train", "evaluate", "judge"]), int(10 ** random.uniform(1, 6))
        )

    def __str__(self) -> str:
        return f"the clock is {self.behind} s behind while {self.again}@{self.run} runs again"

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        pipeline.begin("done")
        behind = {"ITR_CLOCK": str(self.behind)}
        attempts = [
            pipeline.run(*DVC, "repro", "--force", "--single-item", f"{self.again}@{self.run}", env=behind),
            pipeline.run(*DVC, "repro", env=behind),
        ]
        for attempt in attempts:
            yield from seen(attempt)
        if attempts[-1].code:
            yield Finding(Outcome.STUCK, last_line(attempts[-1]))
        yield from compared(pipeline, "done")


KINDS: dict[str, Callable[[Random, Pipeline], Fault]] = {
    "kill": Kill.drawn,
    "flip": lambda random, pipeline: Damage.drawn(random, pipeline, "flip"),
    "truncate": lambda random, pipeline: Damage.drawn(random, pipeline, "truncate"),
    "remove": lambda random, pipeline: Damage.drawn(random, pipeline, "remove"),
    "fill": Fill.drawn,
    "clock": Clock.drawn,
    "flow": Orchestrated.drawn,
}
