"""What several processes that train together exchange in a step, at published sizes, by method.

    python -m benchmarks.gathering --json gathering.json

A whole step of one process's share of the published batch runs on the CPU, in float32, while this process takes the others for
copies of itself. What it gives to and gets from them is counted. `sent_mb` is what one process sends, as rings do it: of
n bytes that are gathered (p − 1)/p, of n bytes that are summed 2(p − 1)/p. `milliseconds` is that over --rate.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor

from benchmarks.gpu.cases import FIRST, Case, Sizes
from benchmarks.simulated_arrays import REGIONS, WIDTH
from itrcore.files import write_json
from itrcore.layers import together
from itrcore.layers.progress import Progress

PUBLISHED = Sizes(None, None, REGIONS, WIDTH, (500, 375), 128, different=16)
WHAT = ("captions", "lengths", "scores", "gradients of captions", "gradients of scores", "batch norm", "gradients")


@contextmanager
def pretending(processes: int) -> Iterator[Counter[str]]:
    """Meanwhile this process is the first of several, and the others have what it has; bytes of all of them together."""
    counted: Counter[str] = Counter()
    rows = Counter[str]()  # how often rows were gathered, and their gradients summed

    def gathered(parts: list[Tensor], own: Tensor) -> None:
        if sys._getframe(1).f_code.co_name == "gather_numbers":
            what = "lengths"
        else:
            what = ("captions", "scores")[rows["gathered"]]
            rows["gathered"] += 1
        counted[what] += own.nbytes * len(parts)
        for part in parts:
            part.copy_(own)

    def summed(values: Tensor) -> None:
        caller = sys._getframe(1).f_code.co_name
        what = {"_mean": "gradients", "_summed": "batch norm"}.get(caller)
        if what is None:  # backwards: the scores come first
            what = ("gradients of scores", "gradients of captions")[rows["summed"]]
            rows["summed"] += 1
        counted[what] += values.nbytes
        values *= processes

    with (
        mock.patch.object(together, "count", lambda: processes),
        mock.patch.object(together, "number", lambda: 0),
        mock.patch.object(together.distributed, "all_gather", gathered),
        mock.patch.object(together.distributed, "all_reduce", summed),
    ):
        yield counted


def exchanged(recipe: str, processes: int, sizes: Sizes = PUBLISHED) -> dict[str, int]:
    """Bytes of one step, by `WHAT`."""
    trainer = Case(recipe, sizes).trainer("float32", "host")
    trainer.objective.train()
    trainer.method.begin_epoch(trainer.recipe.epochs - 1)
    batch = next(trainer.batches.epoch(0))
    with pretending(processes) as counted:
        own = batch.share(together.share(len(batch.image_ids)))
        trainer.stepper.take(own, Progress(trainer.recipe.epochs - 1, 0))
    return {what: counted[what] for what in WHAT}


def sent(counted: dict[str, int], processes: int) -> float:
    """Bytes that each process sends: what is summed goes around twice."""
    twice = {what for what in WHAT if what.startswith("gradients") or what == "batch norm"}
    return sum(n * (2 if what in twice else 1) * (processes - 1) / processes for what, n in counted.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=list(FIRST), metavar="RECIPE")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--rate", type=float, default=300.0, help="GB a second that a process sends to another")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    print(f"{given.processes} processes, MB a step\n{'':20} {'  '.join(WHAT)}  sent  ms")
    for recipe in given.recipes:
        counted = exchanged(recipe, given.processes)
        mb = sent(counted, given.processes) / 1e6
        found[recipe] = {**counted, "sent_mb": mb, "milliseconds": mb / given.rate}
        parts = "  ".join(f"{counted[what] / 1e6:{len(what)}.3g}" for what in WHAT)
        print(f"{recipe:20} {parts}  {mb:4.0f}  {mb / given.rate:.2f}", flush=True)
    if given.json:
        write_json(given.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
