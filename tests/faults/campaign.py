"""A campaign of faults against a small real pipeline: what is lost, wrong or there twice afterwards.

    python -m tests.faults.campaign --seed 1 --minutes 30
    python -m tests.faults.campaign --seed 1 --minutes 30 --kind kill,flip --json faults.json
    python -m tests.faults.campaign --seed 1 --trial 17            # this one again

Each trial is drawn from the seed and its number alone. Exit status 1 where something was lost, silently wrong, there twice
or beyond healing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.faults import KINDS
from tests.faults.fill import may_mount
from tests.faults.outcome import FAILURES, Finding, Outcome
from tests.faults.pipeline import Pipeline


@dataclass(frozen=True)
class Trial:
    """One trial that has run."""

    seed: int
    number: int
    kind: str
    fault: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def outcome(self) -> Outcome:
        """The worst of what was found."""
        return max((finding.outcome for finding in self.findings), key=list(Outcome).index, default=Outcome.EQUAL)

    def __str__(self) -> str:
        lines = [f"{self.number:4} {self.kind:8} {self.outcome:14} {self.fault}  ({self.seconds:.0f} s)"]
        return "\n".join([*lines, *(f"{'':14}{finding.outcome}: {finding.what}" for finding in self.findings)])


def kind_of(seed: int, number: int) -> str:
    """The kind of a trial; the same whichever kinds are asked for."""
    return Random(f"{seed} {number}").choice(list(KINDS))


def run(pipeline: Pipeline, seed: int, number: int) -> Trial:
    """One trial by its number."""
    kind = kind_of(seed, number)
    fault = KINDS[kind](Random(f"{seed} {number} {kind}"), pipeline)
    start = time.monotonic()
    findings = tuple(fault.trial(pipeline))
    return Trial(seed, number, kind, str(fault), findings, time.monotonic() - start)


def table(trials: Iterable[Trial]) -> Iterator[str]:
    """Counts of each outcome for each kind."""
    counts = Counter((trial.kind, trial.outcome) for trial in trials)
    kinds = [kind for kind in KINDS if any(kind == known for known, _ in counts)]
    yield "".join([f"{'':10}", *(f"{outcome:>15}" for outcome in Outcome)])
    for kind in kinds:
        yield "".join([f"{kind:10}", *(f"{counts[kind, outcome] or '–':>15}" for outcome in Outcome)])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30, help="no trial begins later")
    parser.add_argument("--kind", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--trial", type=int, help="this one alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all trials here")
    options = parser.parse_args()
    kinds = set(options.kind.split(","))
    if unknown := kinds - KINDS.keys():
        parser.error(f"no kind {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    if "fill" in kinds and not may_mount():
        print("fill is left out: this user may not mount a file system")
        kinds.remove("fill")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no file system stays mounted
    end = time.monotonic() + options.minutes * 60
    trials = []
    with tempfile.TemporaryDirectory(prefix="itr-faults-") as folder:
        pipeline = Pipeline(Path(folder))
        for number in itertools.count(1) if options.trial is None else [options.trial]:
            if options.trial is None and time.monotonic() > end:
                break
            if options.trial is not None or kind_of(options.seed, number) in kinds:
                trials.append(run(pipeline, options.seed, number))
                print(trials[-1], flush=True)
    print("", *table(trials), sep="\n")
    bad = [trial for trial in trials if trial.outcome in FAILURES]
    for trial in bad:
        print(f"{trial.outcome}: python -m tests.faults.campaign --seed {trial.seed} --trial {trial.number}")
    if options.json:
        values = [{**vars(trial), "outcome": trial.outcome} for trial in trials]
        options.json.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
