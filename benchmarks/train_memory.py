"""Peak memory and seconds of training steps of SGRAF, LHSC and SCAN at published size; and what parts of a batch change.

    python -m benchmarks.train_memory --json train_memory.json
    python -m benchmarks.train_memory --methods vse_infty_bert --parts 64 32 16 --bert FOLDER

For each method, in a process of its own: a few steps on batches of 128 pairs, simulated features (36 × 2,048) and captions
of random words as long as Flickr30K's, d = 1,024, float32, the recipe's optimiser, two CPU threads; weights start at
random. Memory is the most that the process held at once (resident), its libraries included; seconds are the median of the
steps but the first, of processors their mean, which other work there does not make longer. --parts: the same with so many pairs
encoded at a time, as `training.micro_batch` has it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.processes import in_fresh_process, resident_peak
from benchmarks.simulated_arrays import REGIONS, feature_rows
from benchmarks.train_step import Way
from benchmarks.untrained import method_of, settings_of
from itrcore.assets.pieces import BertSource
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.data.feeding.random_captions import F30K_IDS, WORDS, captions
from itrcore.files import write_json
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.encoders import BertSettings
from itrcore.training.step import make_optimiser

METHODS = {
    "sgr": "sgr_bigru",
    "saf": "saf_bigru",
    "lhsc": "lhsc_bigru",
    "scan_t2i": "scan_t2i_lse_bigru",
    "scan_i2t": "scan_i2t_lse_bigru",
}
WITH_BERT = ("vse_infty_bert", "esa_bert", "esl_a_bert")  # of which nothing is promised
LIMIT_GB = 8.0  # what the project promises


def make_batch(size: int, seed: int, views: int = 1) -> Batch:
    """Matching pairs of simulated images and captions of random words, each as often as it has views."""
    regions = torch.from_numpy(np.stack(list(feature_rows(size, seed=seed))))
    tokens = captions(size, F30K_IDS, WORDS, np.random.default_rng(seed))
    texts = TextBatch.pad([np.array(caption.ids) for caption in tokens for _ in range(views)])
    return Batch(RegionBatch(regions, torch.full((size,), REGIONS)), texts, list(range(size)), list(range(size)))


def train(
    name: str, size: int, dim: int | None, steps: int, threads: int, parts: int | None = None, bert: str | None = None
) -> dict[str, Any]:
    """Steps of one method, in this process. parts: pairs that are encoded at a time; bert: a folder with the shape of a BERT"""
    torch.set_num_threads(threads)
    settings = settings_of(METHODS.get(name, name), dim)
    text = None
    if isinstance(settings.model.text, BertSettings):
        from transformers import BertConfig

        text = BertSource(settings.model.text, BertConfig.from_pretrained(bert) if bert else BertConfig())
    objective = Objective.of(settings, method_of(settings, text)).train()
    objective.parts.size = parts
    way = Way(name, objective, make_optimiser(objective, settings.recipe)[0], bf16=False, compiled=False, seconds=[])
    before, begins = resident_peak(), list[float]()
    for step in range(steps):
        begins.append(time.process_time())
        batch = make_batch(size, step, settings.model.n_views)
        way.seconds.append(way.step(batch, settings.recipe, Progress(0, step)))
    # The first one also chooses kernels and takes memory from the system.
    return {
        "before_gb": before / 1e9,
        "peak_gb": resident_peak() / 1e9,
        "step_seconds": median(way.seconds[1:]),
        "processor_seconds": (time.process_time() - begins[1]) / (steps - 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, *WITH_BERT], default=list(METHODS))
    parser.add_argument("--batch", type=int, default=128, help="pairs")
    parser.add_argument("--dim", type=int, help="of the embedding space; as published where not given")
    parser.add_argument("--steps", type=int, default=5, help="two at least; the first one is not timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", type=int, nargs="+", default=[], help="pairs encoded at a time, beside all of them")
    parser.add_argument("--bert", help="a folder with the config.json of a BERT (default: BERT-base)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    print(f"{given.batch} pairs, {given.threads} threads on {os.cpu_count()} cores")
    results = {}
    for name, parts in product(given.methods, (None, *given.parts)):
        shape = (given.batch, given.dim, given.steps, given.threads)
        result = in_fresh_process(train, name, *shape, parts=parts, bert=given.bert)
        title = name if parts is None else f"{name}, {parts} at a time"
        results[title] = result
        result["kept"] = name in WITH_BERT or result["peak_gb"] <= LIMIT_GB
        print(
            f"{title:28} {result['peak_gb']:5.2f} GB at most, {'' if result['peak_gb'] <= LIMIT_GB else 'NOT '}within "
            f"{LIMIT_GB:g} GB, {result['before_gb']:.2f} GB before the first step; {result['step_seconds']:.2f} s a step, "
            f"{result['processor_seconds']:.2f} s of processors",
            flush=True,
        )
    if given.json:
        write_json(given.json, results)
    return 0 if all(result["kept"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
