"""Seconds of scoring all pairs of images and captions, ours against the released loop over captions written plainly.

    python -m benchmarks.similarity --json similarity.json
    python -m benchmarks.similarity --full

For each method: 200 images of 36 regions × 300 captions as long as Flickr30K's, published dimensions, from encoded items
on (for ESL: after the levels), two CPU threads. Both ways get the same items and take turns; ratios are of neighbouring
rounds. That they compute the same is checked. `share_of_peak` says how near ours comes to the machine's own speed of
float32 matrix products, taken in the same run: the multiply-adds of the products that ours needs, over its time.
--full measures ours alone: Flickr30K's 1,000 × 5,000 test split, on a GPU (--device cuda) COCO's 5,000 × 25,000.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.similarity_methods import METHODS, Case, Sizes
from itrcore.files import write_json
from itrcore.models.word_region import product

LIMIT_RATIO, LIMIT_DIFFERENCE = 6.0, 1e-5  # what the project promises on 2 cores
PEAK_SIDE = 2048  # of the square matrices whose product gives the machine's speed


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    """What it gives, and its seconds."""
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - started


def peak(device: torch.device, rounds: int) -> float:
    """Multiply-adds per second of the faster of torch's two ways to multiply float32 matrices."""
    a, b = torch.randn(2, PEAK_SIDE, PEAK_SIDE, device=device)
    ways: list[Callable[[], Tensor]] = [lambda: a @ b.T, lambda: product(a, b)]
    return PEAK_SIDE**3 / min(timed(way, device)[1] for way in ways for _ in range(rounds + 1))


def compare(case: Case, rounds: int, device: torch.device) -> dict[str, Any]:
    """Both ways in turns, after one round of ours for caches and kernels."""
    case.ours()
    ours, theirs, difference = [], [], 0.0
    speed = 0.0
    for _ in range(rounds):
        expected, seconds = timed(case.released, device)
        theirs.append(seconds)
        found, seconds = timed(case.ours, device)
        ours.append(seconds)
        difference = max(difference, float((found - expected).abs().max()))
        speed = max(speed, peak(device, rounds=3))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "seconds": median(ours),
        "released_seconds": median(theirs),
        "share_of_peak": case.multiply_adds / median(ours) / speed,
        "max_abs_diff": difference,
    }


def full(case: Case, device: torch.device) -> dict[str, Any]:
    """Ours alone, once; peak memory is this process's on a CPU, else what tensors took of the GPU."""
    _, seconds = timed(case.ours, device)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        held = torch.cuda.max_memory_allocated(device)
    return {"seconds": seconds, "peak_gb": held / 1e9}


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--images", type=int)
    parser.add_argument("--captions", type=int)
    parser.add_argument("--regions", type=int, default=36)
    parser.add_argument("--dim", type=int, default=512, help="of the embedding space, a power of 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="ours alone, on a whole test split: time and peak memory")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    whole = (5000, 25000) if device.type == "cuda" else (1000, 5000)
    default = whole if given.full else (200, 300)
    sizes = Sizes(given.images or default[0], given.captions or default[1], given.regions, given.dim)
    where = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"{given.threads} threads, {os.cpu_count()} cores"
    )
    print(
        f"{sizes.images:,} images of {sizes.regions} regions × {sizes.captions:,} captions, d = {sizes.dim:,}, {where}"
    )
    results, kept = {}, True
    for name in given.methods:
        case = METHODS[name](sizes, device)
        if given.full:
            result = full(case, device)
            print(f"{name:8} {result['seconds']:8.2f} s, {result['peak_gb']:.2f} GB at most")
        else:
            result = compare(case, given.rounds, device)
            same, fast = result["max_abs_diff"] <= LIMIT_DIFFERENCE, result["ratio"] >= LIMIT_RATIO
            kept = kept and same and fast
            print(
                f"{name:8} {result['seconds']:8.2f} s, released {result['released_seconds']:.2f} s: {result['ratio']:.1f} "
                f"times as fast (rounds: {min(result['ratios']):.1f} to {max(result['ratios']):.1f}), "
                f"{'more' if fast else 'LESS'} than {LIMIT_RATIO:g}; {result['share_of_peak']:.0%} of the speed of matrix "
                f"products\n{'':8} {'the same' if same else 'NOT THE SAME'}: {result['max_abs_diff']:.1e} apart at most"
            )
        results[name] = result
    if given.json:
        write_json(given.json, results)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
