"""Files that rot, are cut off or go: results, states of trainings, DVC's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.kill import Hit
from tests.faults.outcome import (
    RESULTS,
    Finding,
    Outcome,
    compared,
    difference,
    error_line,
    finished,
    last_line,
    repeated,
    seen,
)
from tests.faults.pipeline import ITR, Attempt, Pipeline

CACHE = ".dvc/cache"
KEPT = "cache"  # what preparing keeps for the next time


@dataclass(frozen=True)
class Damage:
    """One file is damaged or removed, and read.

    what: `flip` one bit, `truncate`, or `remove`
    where: a kind of result; DVC's cache, of which all is then taken; what preparing kept; or `state`, of a training that was killed
    copy: `output` alone, its copy in the `cache`, or `both`. In the cache, it is then taken from there
    quiet: its time is kept, as when a disk rots, so that DVC does not look at it again
    choice: what decides which file and where in it; reader: the number of the first of two commands that read it
    """

    what: str
    where: str
    copy: str
    quiet: bool
    choice: int
    reader: int
    cut: Hit

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline, what: str) -> Damage:
        """Each kind of result as often as figures rest on it, however many files it has."""
        places = {
            **dict.fromkeys(RESULTS, 1),
            "data": 3,
            "runs": 3,
            "evaluations": 3,
            "results": 2,
            CACHE: 3,
            KEPT: 2,
            "state": 2,
        }
        return cls(
            what,
            random.choices(list(places), list(places.values()))[0],
            random.choice(["output", "cache", "both"]),
            random.random() < 0.5,
            random.getrandbits(64),
            random.getrandbits(16),
            Hit.drawn(random, pipeline, "prepared", only="train"),
        )

    def __str__(self) -> str:
        if self.where == "state":
            return f"{self.what} a file of state, after {self.cut}"
        if self.where == CACHE:
            return f"{self.what} a file of DVC's cache{', its time kept' if self.quiet else ''}; then all is taken from there"
        if self.where == KEPT:
            return f"{self.what} a file of {KEPT}{', its time kept' if self.quiet else ''}"
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
        command = pipeline.repro()
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
        for path in [file] if self.where in (CACHE, KEPT) else both[self.copy]:
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
        known = readers(pipeline, name)
        first, second = (known[(self.reader + number) % len(known)] for number in (0, 1))
        for command in (first, second, pipeline.repro()):
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
            attempts.append(pipeline.run(*(pipeline.repro() if line.endswith(" -m dvc repro") else shlex.split(line))))
        attempts.append(pipeline.run(*pipeline.repro()))
        if any("stages.train" in attempt.command for attempt in attempts):
            pipeline.run(*ITR, "track")  # MLflow holds the one trained by hand, which DVC replaced
        if attempts[-1].code:
            yield Finding(Outcome.STUCK, f"{name}: after {healing}: {last_line(attempts[-1])}")
            return
        yield from (Finding(Outcome.REFUSED, line) for line in refused)
        if left := difference(pipeline.folder, pipeline.undisturbed("done")) & damaged:
            if refused:
                yield Finding(Outcome.STUCK, f"{name}: {healing} does not heal {sorted(left)[:3]}")
            else:
                yield Finding(Outcome.MISSED, f"{name}: nothing that ran reads it")
        gone = self.copy != "output" and self.where.startswith(("runs", "curves"))
        for finding in [
            *compared(pipeline, "done", but=damaged),
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
    ensemble = next((known for known in pipeline.ensembles if known in name), None)
    run = next((known for known in pipeline.runs if known in name), pipeline.runs[0])
    train, evaluate = _stage("train", run), _stage("evaluate", run)
    judge = _stage("ensemble", ensemble) if ensemble else _stage("judge", run)
    board, why, report = [*ITR, "leaderboard"], [*ITR, "why", run], _stage("report")
    members = [_stage("members", known) for known in pipeline.ensembles]
    of_captions = [
        *(_stage(known, "scenes") for known in ("vocab", "concepts", "shards", "inputs")),
        train,
        evaluate,
        judge,
        report,
    ]
    of_data = {
        "raw": [_stage("splits", "scenes"), _stage("shards", "scenes"), report],
        "vocab": [_stage("inputs", "scenes"), _stage("concepts", "scenes"), train],
        "concepts": [report],
        "features": [report],
        "shards": [_stage("inputs", "scenes"), train, evaluate],
    }
    top, *below = name.split("/")
    return {
        "data": of_data.get("".join(below[1:2]), of_captions),
        "inputs": [train, evaluate, why],
        "runs": [evaluate, judge, report, why],
        "evaluations": [judge, *members],
        KEPT: [train, evaluate],
    }.get(top, [report, board])


def _stage(name: str, *item: str) -> list[str]:
    return [sys.executable, "-m", f"stages.{name}", *item]


def advice(attempt: Attempt) -> list[str]:
    """The commands that an error tells the user to give."""
    python = shlex.quote(sys.executable)
    found = re.findall(r"(?<!python -m )\b((?:itr|dvc|rm) [^.;,()\n]*[^.;,()\s])", error_line(attempt) or "")
    return [re.sub(r"^itr", f"{python} -m itrcore.cli", re.sub(r"^dvc", f"{python} -m dvc", line)) for line in found]
