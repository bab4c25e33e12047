"""Processes that end at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.faults.outcome import Finding, Outcome, finished, seen
from tests.faults.pipeline import Attempt, Pipeline, strike


@dataclass(frozen=True)
class Hit:
    """A signal at one write of a process, or `delay` seconds later. whom: `group`, `dvc` (the stage goes on) or `self`."""

    process: str
    write: int
    delay: float
    signal: str
    whom: str

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline, state: str, only: str = "") -> Hit:
        """only: the beginning of the names of the processes that may be hit"""
        writes = pipeline.states[state].writes
        heavy = {"train": 5, "dvc": 3}  # in a training there is most to lose, and DVC moves every result
        processes = [process for process in writes if process.startswith(only)]
        (process,) = random.choices(processes, [heavy.get(name.split()[0], 1) for name in processes])
        write, sent = random.randrange(len(writes[process])), random.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"])
        delay = random.choice([0.0, 0.0, round(random.uniform(0, 1), 3)])
        if write == 0 and sent == "SIGINT":
            delay += 0.2  # until then Python itself starts
        return cls(process, write, delay, sent, random.choice(["group", "dvc", "self"]))

    def __str__(self) -> str:
        later = f" and {self.delay:g} s" if self.delay else ""
        return f"{self.signal} to {self.whom} at write {self.write}{later} of {self.process}"

    def env(self, pipeline: Pipeline) -> dict[str, str]:
        """For the process that starts what is hit."""
        return strike(pipeline, self.process, self.write, self.delay, self.signal, self.whom)


@dataclass(frozen=True)
class Kill:
    """Processes end at any moment, up to three times; then `dvc repro` finishes. patient: it waits for processes left alive."""

    state: str
    hits: tuple[Hit, ...]
    patient: bool

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline) -> Kill:
        """Most of them on the way to the results."""
        state = random.choice(["fresh", "prepared", "prepared", "prepared"])
        hits = tuple(Hit.drawn(random, pipeline, state) for _ in range(random.choice([1, 1, 2, 3])))
        return cls(state, hits, random.random() < 0.7)

    def __str__(self) -> str:
        return f"{self.state}: " + ", then ".join(map(str, self.hits)) + ("" if self.patient else ", not waited for")

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        pipeline.begin(self.state)
        command = pipeline.repro(self.state)
        running, attempts = [], list[Attempt]()
        for hit in self.hits:
            running.append(pipeline.start(*command, env=hit.env(pipeline)))
            running[-1].wait()
            if self.patient:
                attempts.append(running.pop().attempt())
        if not self.patient:
            beside = pipeline.start(*command)
            beside.wait()
            attempts += [process.attempt() for process in [*running, beside]]
            if attempts[-1].code != 0:  # what was left alive was in its way
                yield from seen(attempts[-1])
        if self.patient or attempts[-1].code != 0:
            attempts.append(pipeline.run(*command))
        if not pipeline.mark.exists():
            yield Finding(Outcome.MISSED, "every process ended before")
        for hit, attempt in zip(self.hits, attempts, strict=False):  # further attempts are undisturbed
            if hit.signal == "SIGINT" or attempt.code is None:  # the others leave no time for a word
                yield from seen(attempt)
        yield from finished(pipeline, self.state, attempts)
