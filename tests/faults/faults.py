"""The kinds of faults. Each is drawn from a seeded generator, says what it is, and disturbs one trial.

A trial yields its `Finding`s; none means that the results are the undisturbed ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from tests.faults.outcome import (
    RESULTS,
    Finding,
    Outcome,
    compared,
    difference,
    error_line,
    left_over,
    repeated,
    seen,
)
from tests.faults.pipeline import DVC, ITR, Attempt, Pipeline, strike

CACHE = ".dvc/cache"
NEXT = {"fresh": "prepared", "prepared": "done"}


class Fault(Protocol):
    """One disturbance; `str` of it says which."""

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        """Disturb the pipeline, then let it finish."""


def repro(pipeline: Pipeline, state: str = "prepared") -> tuple[str, ...]:
    """The command that makes the next state."""
    return (*DVC, "repro", *pipeline.states[state].goal)


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
        command = repro(pipeline, self.state)
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
        for hit, attempt in zip(self.hits, attempts, strict=False):
            if hit.signal == "SIGINT" or attempt.code is None:  # the others leave no time for a word
                yield from seen(attempt)
        yield from finished(pipeline, self.state, attempts)


def finished(pipeline: Pipeline, state: str, attempts: list[Attempt], trainings: bool = True) -> Iterator[Finding]:
    """The last attempt, undisturbed: it ends well, with the undisturbed results, and repeated nothing."""
    if attempts[-1].code != 0:
        yield Finding(Outcome.STUCK, f"{attempts[-1]}: {last_line(attempts[-1])}")
        return
    yield from compared(pipeline, NEXT[state])
    yield from repeated(attempts, trainings)


def last_line(attempt: Attempt) -> str:
    """What the user reads of a failure."""
    return error_line(attempt) or (attempt.output.strip().splitlines() or ["no output"])[-1]


@dataclass(frozen=True)
class Fill:
    """A file system of its own for a folder fills; then there is room again. slack: how much of what is needed there is."""

    state: str
    folder: str
    slack: float

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline) -> Fill:
        """The whole project, or one folder in which no output of DVC's is a link."""
        state = random.choice(["fresh", "prepared", "prepared", "prepared"])
        folders = {
            "fresh": [".", ".dvc/cache", ".dvc/tmp", "data/scenes", "inputs", "state", "temporary"],
            "prepared": [
                *[
                    ".",
                    ".",
                    ".dvc/cache",
                    ".dvc/cache",
                    ".dvc/tmp",
                    "runs",
                    "state",
                    "evaluations",
                    "results",
                    "ensembles",
                ],
                *["inputs", "curves", "metrics", "mlartifacts", "temporary"],
            ],
        }
        return cls(state, random.choice(folders[state]), round(random.random(), 3))

    def __str__(self) -> str:
        return f"{self.state}: {self.folder} fills after {self.slack:.1%} of what it needs"

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        pipeline.begin(self.state)
        folder = pipeline.folder / self.folder
        before = _pages(folder)
        needed = max(8, _pages(pipeline.undisturbed(NEXT[self.state]) / self.folder) - before)
        command = repro(pipeline, self.state)
        with file_system(folder) as resize:
            resize(before + int(needed * self.slack))
            full = pipeline.run(*command, env={"TMPDIR": str(folder)} if self.folder == "temporary" else {})
            if full.code == 0 and "No space" not in full.output:
                yield Finding(Outcome.MISSED, "there was room enough")
            yield from seen(full)
            if full.code:
                yield from left_over(pipeline.folder)
            resize(1 << 18)
            yield from finished(pipeline, self.state, [full, pipeline.run(*command)])


@contextlib.contextmanager
def file_system(folder: Path) -> Iterator[Callable[[int], object]]:
    """Put a file system in memory under a folder, with what is in it; afterwards it is gone, with all that is in it.

    Yields what sets its size, in pages of 4 KiB.
    """
    aside = folder.with_name(f"{folder.name}.aside")
    if folder.exists():
        folder.rename(aside)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        if aside.exists():
            subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
            subprocess.run(["rm", "-rf", aside], check=True)
        yield lambda pages: subprocess.run(["mount", "-o", f"remount,size={max(1, pages) * 4}k", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _pages(folder: Path) -> int:
    """What the files of a folder take of a file system, in pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def may_mount() -> bool:
    """Whether this process may mount file systems: root, outside of most containers."""
    try:
        with tempfile.TemporaryDirectory() as folder, file_system(Path(folder) / "mounted"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@dataclass(frozen=True)
class Damage:
    """One file is damaged or removed, and read. Which file follows from `choice`, as its name may hold a digest.

    what: `flip` one bit, `truncate`, or `remove`
    where: a kind of result; DVC's cache, of which all is then taken; or `state`, of a training that was killed
    copy: `output` alone, its copy in the `cache`, or `both`. In the cache, it is then taken from there
    quiet: its time is kept, as when a disk rots, so that DVC does not look at it again
    """

    what: str
    where: str
    copy: str
    quiet: bool
    choice: int
    cut: Hit

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline, what: str) -> Damage:
        """Every kind of result as often as any other, however many files it has."""
        return cls(
            what,
            random.choice([*RESULTS, CACHE, "state"]),
            random.choice(["output", "cache", "both"]),
            random.random() < 0.5,
            random.getrandbits(64),
            Hit.drawn(random, pipeline, "prepared", only="train"),
        )

    def __str__(self) -> str:
        if self.where == "state":
            return f"{self.what} a file of state, after {self.cut}"
        if self.where == CACHE:
            return f"{self.what} a file of DVC's cache{', its time kept' if self.quiet else ''}; then all is taken from there"
        copy = {"output": "the output", "cache": "DVC's copy, which is then taken", "both": "both copies"}[self.copy]
        return f"{self.what} a file of {self.where}: {copy}{', its time kept' if self.quiet else ''}"

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        random = Random(self.choice)
        if self.where == "state":
            yield from self._of_state(pipeline, random)
        else:
            yield from self._of_result(pipeline, random)

    def _of_state(self, pipeline: Pipeline, random: Random) -> Iterator[Finding]:
        pipeline.begin("prepared")
        command = repro(pipeline)
        attempts = [pipeline.run(*command, env=self.cut.env(pipeline))]
        files = sorted(path for path in (pipeline.folder / "state").rglob("*") if path.is_file())
        if not files:
            yield Finding(Outcome.MISSED, "no state was there")
            return
        self._damage(random.choice(files), random)
        attempts.append(pipeline.run(*command))
        yield from finished(pipeline, "prepared", attempts, trainings=False)

    def _of_result(self, pipeline: Pipeline, random: Random) -> Iterator[Finding]:
        pipeline.begin("done")
        above = pipeline.folder / self.where
        file = random.choice(sorted(path for path in [above, *above.rglob("*")] if path.is_file()))
        name = file.relative_to(pipeline.folder).as_posix()
        copy = pipeline.cached(hashlib.md5(file.read_bytes()).hexdigest())
        both = {"output": [file], "cache": [copy], "both": [file, copy]}
        for path in [file] if self.where == CACHE else both[self.copy]:
            self._damage(path, random)
        everything = self.where == CACHE
        taken = [
            out
            for out in pipeline.outputs()
            if everything or (self.copy == "cache" and f"{name}/".startswith(f"{out}/"))
        ]
        attempts = [pipeline.take_from_cache(taken)] if taken else []
        damaged = difference(pipeline.folder, pipeline.undisturbed("done"))
        refused, healing = list[str](), list[str]()
        for command in (random.choice(readers(pipeline, name)), repro(pipeline)):
            attempt = pipeline.run(*command)
            attempts.append(attempt)
            yield from seen(attempt)
            if attempt.code:
                refused.append(f"{attempt}: {last_line(attempt)}")
                healing += advice(attempt)
                named = {name, *damaged, *(path.rpartition("/")[0] for path in damaged)}
                if not any(path in attempt.output for path in named):
                    yield Finding(Outcome.UGLY, f"{name} is not named: {refused[-1]}")
            elif other := sorted(difference(pipeline.folder, pipeline.undisturbed("done")) - damaged):
                yield Finding(Outcome.WRONG, f"{name}: {attempt} made others of {other[:3]}")
                return
        for line in dict.fromkeys(healing):
            attempts.append(pipeline.run(*(repro(pipeline) if line.endswith(" -m dvc repro") else shlex.split(line))))
        attempts.append(pipeline.run(*repro(pipeline)))
        if any("stages.train" in attempt.command for attempt in attempts):
            pipeline.run(*ITR, "track")  # MLflow holds the one trained by hand, which DVC replaced
        if attempts[-1].code:
            yield Finding(Outcome.STUCK, f"{name}: after {healing}: {last_line(attempts[-1])}")
            return
        yield from (Finding(Outcome.REFUSED, line) for line in refused)
        gone = self.copy != "output" and self.where.startswith(("runs", "curves"))
        for finding in [
            *compared(pipeline, "done", but=() if refused else damaged),
            *repeated(attempts, trainings=not gone and not everything),
        ]:
            yield finding._replace(what=f"{name}, then {healing}: {finding.what}")

    def _damage(self, file: Path, random: Random) -> None:
        """In place, through any link."""
        if not file.exists():  # DVC keeps no copy of it, or it is the damaged one
            return
        times, mode = file.stat(), file.stat().st_mode
        content = bytearray(file.read_bytes())
        if self.what == "remove" or not content:
            file.unlink()
            return
        if self.what == "flip":
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        else:
            del content[random.randrange(len(content)) :]
        file.chmod(0o644)
        with open(file, "r+b") as handle:
            handle.truncate()
            handle.write(content)
        file.chmod(mode)
        if self.quiet:
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def readers(pipeline: Pipeline, name: str) -> list[list[str]]:
    """Commands that a user may give which read this result, or one made of it."""
    item = next((run for run in [*pipeline.runs, *pipeline.ensembles] if run in name), pipeline.runs[0])
    stage = lambda *words: [sys.executable, "-m", *words]  # noqa: E731
    judge = stage("stages.ensemble" if item in pipeline.ensembles else "stages.judge", item)
    board, report = [*ITR, "leaderboard"], stage("stages.report")
    run = pipeline.runs[0] if item in pipeline.ensembles else item
    evaluate, train = stage("stages.evaluate", run), stage("stages.train", run)
    members = [stage("stages.members", ensemble) for ensemble in pipeline.ensembles]
    of_data = {
        "raw": [stage("stages.splits", "scenes"), stage("stages.shards", "scenes"), report],
        "vocab": [stage("stages.inputs", "scenes"), train],
        "shards": [stage("stages.inputs", "scenes"), train, evaluate],
    }
    captions = [stage(f"stages.{name}", "scenes") for name in ("vocab", "shards", "inputs")]
    top, *below = name.split("/")
    return {
        "data": of_data.get("".join(below[1:2]), [*captions, train, evaluate, judge, report]),
        "inputs": [train, evaluate, [*ITR, "why", run]],
        "runs": [evaluate, judge, report, [*ITR, "why", run]],
        "curves": [report],
        "evaluations": [judge, *members],
        "results": [report, board],
        "ensembles": [judge],
    }.get(top, [board])


def advice(attempt: Attempt) -> list[str]:
    """The commands that an error tells the user to give."""
    python = shlex.quote(sys.executable)
    found = re.findall(r"(?<!python -m )\b((?:itr|dvc|rm) [^.;,()\n]*[^.;,()\s])", error_line(attempt) or "")
    return [re.sub(r"^itr", f"{python} -m itrcore.cli", re.sub(r"^dvc", f"{python} -m dvc", line)) for line in found]


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
}
