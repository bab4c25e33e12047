"""Peak memory and seconds of training steps of SGRAF, LHSC and SCAN at published size.

    python -m benchmarks.train_memory --json train_memory.json

For each method, in a process of its own: a few steps on batches of 128 pairs, simulated features (36 × 2,048) and captions
of random words as long as Flickr30K's, d = 1,024, float32, the recipe's optimiser, two CPU threads; weights start at
random. Memory is the most that the process held at once (resident), its libraries included; seconds are the median of the
steps but the first.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.processes import in_fresh_process, resident_peak
from benchmarks.simulated_arrays import REGIONS, feature_rows
from benchmarks.train_step import Way
from benchmarks.untrained import method_of, settings_of
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.data.feeding.random_captions import F30K_IDS, WORDS, captions
from itrcore.files import write_json
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.training.step import make_optimiser

METHODS = {
    "sgr": "sgr_bigru",
    "saf": "saf_bigru",
    "lhsc": "lhsc_bigru",
    "scan_t2i": "scan_t2i_lse_bigru",
    "scan_i2t": "scan_i2t_lse_bigru",
}
LIMIT_GB = 8.0  # what the project promises


def make_batch(size: int, seed: int) -> Batch:
    """Matching pairs of simulated images and captions of random words."""
    regions = torch.from_numpy(np.stack(list(feature_rows(size, seed=seed))))
    tokens = captions(size, F30K_IDS, WORDS, np.random.default_rng(seed))
    texts = TextBatch.pad([np.array(caption.ids) for caption in tokens])
    return Batch(RegionBatch(regions, torch.full((size,), REGIONS)), texts, list(range(size)), list(range(size)))


def train(name: str, size: int, dim: int | None, steps: int, threads: int) -> dict[str, Any]:
    """Steps of one method, in this process."""
    torch.set_num_threads(threads)
    settings = settings_of(METHODS[name], dim)
    objective = Objective.of(settings, method_of(settings)).train()
    way = Way(name, objective, make_optimiser(objective, settings.recipe)[0], bf16=False, compiled=False, seconds=[])
    for step in range(steps):
        way.seconds.append(way.step(make_batch(size, seed=step), settings.recipe, Progress(0, step)))
    # The first one also chooses kernels and takes memory from the system.
    return {"peak_gb": resident_peak() / 1e9, "step_seconds": median(way.seconds[1:])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--batch", type=int, default=128, help="pairs")
    parser.add_argument("--dim", type=int, help="of the embedding space; as published where not given")
    parser.add_argument("--steps", type=int, default=5, help="two at least; the first one is not timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    print(f"{given.batch} pairs, {given.threads} threads on {os.cpu_count()} cores")
    results = {}
    for name in given.methods:
        result = in_fresh_process(train, name, given.batch, given.dim, given.steps, given.threads)
        results[name] = result
        result["kept"] = result["peak_gb"] <= LIMIT_GB
        print(
            f"{name:8} {result['peak_gb']:5.2f} GB at most, {'' if result['kept'] else 'NOT '}within {LIMIT_GB:g} GB; "
            f"{result['step_seconds']:.2f} s a step",
            flush=True,
        )
    if given.json:
        write_json(given.json, results)
    return 0 if all(result["kept"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
