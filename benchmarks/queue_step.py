"""Seconds of a training step of CODER with BERT at published size, against VSE∞'s with the same encoders.

    python -m benchmarks.queue_step --json queue_step.json

Both take whole steps (forward, loss, backward, AdamW; CODER's following encoders, queue and clusters besides) in turns, on
simulated features (36 × 2,048) and captions of random word pieces, in one process with two CPU threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from accelerate import Accelerator

from benchmarks.simulated_arrays import REGIONS, feature_rows
from benchmarks.untrained import method_of, settings_of
from itrcore.assets.pieces import BertSource
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.files import write_json
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.pretrained import bert
from itrcore.settings.encoders import BertSettings, BertShape
from itrcore.training.step import Stepper

PLAIN, QUEUED = "vse_infty_bert", "coder_bert"
LIMIT = 2.2  # times a step of VSE∞
BASE, PIECES = BertShape(hidden=768, layers=12, heads=12, intermediate=3072, positions=512), 30_522


def make_batch(size: int, number: int) -> Batch:
    """Pairs of other images than those of other numbers."""
    rng = np.random.default_rng(number)
    texts = TextBatch.pad([rng.integers(1000, PIECES, length) for length in rng.integers(9, 24, size)])
    regions = torch.from_numpy(np.stack(list(feature_rows(size, seed=number))))
    ids = list(range(number * size, (number + 1) * size))
    return Batch(RegionBatch(regions, torch.full((size,), REGIONS)), texts, ids, ids)


def stepper(recipe: str) -> Stepper:
    """The recipe's training, from weights drawn at random."""
    settings = settings_of(recipe)
    assert isinstance(settings.model.text, BertSettings)
    method = method_of(settings, BertSource(settings.model.text, bert.config_of(BASE, PIECES)))
    return Stepper(Objective.of(settings, method).train(), settings.recipe, 1, 100, Accelerator(cpu=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="pairs")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each that are measured, after a first one")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(2)
    steppers = {recipe: stepper(recipe) for recipe in (PLAIN, QUEUED)}
    seconds: dict[str, list[float]] = {recipe: [] for recipe in steppers}
    for step in range(-1, given.rounds):
        batch = make_batch(given.batch, step + 1)
        for recipe in list(steppers)[:: 1 if step % 2 else -1]:
            # The process's own time: a machine that does other things too would count them twice as often in the longer step.
            started = time.process_time()
            steppers[recipe].take(batch, Progress(0, step + 1)).values.tolist()
            if step >= 0:
                seconds[recipe].append(time.process_time() - started)
    ratio = median(other / one for one, other in zip(seconds[PLAIN], seconds[QUEUED], strict=True))
    for recipe, taken in seconds.items():
        print(f"{recipe:15} {median(taken):7.2f} s of CPU a step of {given.batch} pairs")
    print(f"ratio {ratio:.2f}, limit {LIMIT}")
    if given.json:
        write_json(given.json, {"batch": given.batch, "seconds": seconds, "ratio": ratio, "limit": LIMIT})
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
