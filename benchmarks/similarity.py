"""Seconds of scoring all pairs of images and captions, ours against the released loop over captions written plainly.

    python -m benchmarks.similarity --json similarity.json
    python -m benchmarks.similarity --full

For each method: 200 images of 36 regions × 300 captions as long as Flickr30K's, published dimensions, from encoded items
on (for ESL: after the levels; for the others: as their own encoders make them with random weights), two CPU threads. Both
ways get the same items and take turns; ratios are of neighbouring rounds. It is checked that both compute the same.
`share_of_peak` compares ours with the machine's own speed of float32 matrix products, measured in the same run: the
multiply-adds of our products, as torch counts them, over our time. `parts` are the seconds of the operations in a round of
ours, by their purpose. ESL and SCAN promise to be a number of times as fast as the released loop. The others are bound by
arithmetic and promise a share of the machine's speed.
--full measures ours alone, in a process of its own: Flickr30K's 1,000 × 5,000 test split, on a GPU (--device cuda) COCO's
5,000 × 25,000.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.operations import watch
from benchmarks.processes import in_fresh_process, resident_peak
from benchmarks.similarity_methods import METHODS, Case, Compared, Sizes, parts
from itrcore.files import write_json
from itrcore.layers.product import product

LIMIT_DIFFERENCE = 1e-5
SHOWN = 7  # parts, the longest
PEAK_SIDE = 2048  # of the square matrices whose product gives the machine's speed
PEAK_TIMES = 9  # how often each way of it is timed


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    """What it gives, and its seconds."""
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - started


def peak(device: torch.device) -> float:
    """Multiply-adds per second of the faster of torch's two ways to multiply float32 matrices: the median of several."""
    a, b = torch.randn(2, PEAK_SIDE, PEAK_SIDE, device=device)
    ways: list[Callable[[], Tensor]] = [lambda: a @ b.T, lambda: product(a, b)]
    return PEAK_SIDE**3 / min(median(timed(way, device)[1] for _ in range(PEAK_TIMES)) for way in ways)


def compare(case: Case, rounds: int, device: torch.device) -> dict[str, Any]:
    """Both ways in turns, after one round of ours for caches and kernels."""
    first = watch(case.ours, case.model)
    ours, theirs, speeds, difference = [], [], [], 0.0
    for _ in range(rounds):
        expected, seconds = timed(case.released, device)
        theirs.append(seconds)
        scores, seconds = timed(case.ours, device)
        ours.append(seconds)
        difference = max(difference, float((scores - expected).abs().max()))
        speeds.append(peak(device))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    # Of neighbours, as the ratios are: on a shared machine the speed of all things comes and goes.
    shares = [first.multiply_adds / seconds / speed for seconds, speed in zip(ours, speeds, strict=True)]
    calmer = min(first, watch(case.ours, case.model), key=lambda watched: sum(watched.seconds.values()))
    spent = parts(calmer.seconds)
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "seconds": median(ours),
        "released_seconds": median(theirs),
        "multiply_adds": first.multiply_adds,
        "peak_multiply_adds_per_s": median(speeds),
        "share_of_peak": median(shares),
        "shares": shares,
        "max_abs_diff": difference,
        "parts": {**spent, "outside operations": max(0.0, median(ours) - sum(spent.values()))},
    }


def report(name: str, method: Compared, result: dict[str, Any]) -> None:
    """Adds to the result whether it keeps the promise, and prints it."""
    same, enough = result["max_abs_diff"] <= LIMIT_DIFFERENCE, result[method.measure] >= method.at_least
    result["promise"] = {"measure": method.measure, "at_least": method.at_least, "kept": same and enough}
    least = f"{method.at_least:g} times" if method.measure == "ratio" else f"{method.at_least:.0%}"
    total = sum(result["parts"].values())
    longest = sorted(result["parts"].items(), key=lambda part: -part[1])[:SHOWN]
    shown = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in longest)
    print(
        f"{name:8} {result['seconds']:8.2f} s, released {result['released_seconds']:.2f} s: {result['ratio']:.1f} times as "
        f"fast (rounds: {min(result['ratios']):.1f} to {max(result['ratios']):.1f}), {result['share_of_peak']:.0%} of the "
        f"speed of matrix products; {'more' if enough else 'LESS'} than the promised {least}\n"
        f"{'':8} {'the same' if same else 'NOT THE SAME'}: {result['max_abs_diff']:.1e} apart at most\n"
        f"{'':8} where the time goes: {shown}"
    )


@torch.inference_mode()
def full(name: str, sizes: Sizes, device: torch.device, threads: int) -> dict[str, Any]:
    """Ours alone, once; peak memory is this process's on a CPU, encoding included, else what tensors took of the GPU."""
    torch.set_num_threads(threads)
    _, seconds = timed(METHODS[name].make(sizes, device).ours, device)
    held = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_peak()
    return {"seconds": seconds, "peak_gb": held / 1e9}


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--images", type=int)
    parser.add_argument("--captions", type=int)
    parser.add_argument("--regions", type=int, default=36)
    parser.add_argument("--dim", type=int, help="of the embedding space, a power of 2; as published where not given")
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
    n_images, n_captions = given.images or default[0], given.captions or default[1]
    where = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"{given.threads} threads, {os.cpu_count()} cores"
    )
    print(f"{n_images:,} images of {given.regions} regions × {n_captions:,} captions, {where}")
    results = {}
    for name in given.methods:
        method = METHODS[name]
        sizes = Sizes(n_images, n_captions, given.regions, given.dim or method.dim)
        if given.full:
            results[name] = in_fresh_process(full, name, sizes, device, given.threads)
            print(f"{name:8} {results[name]['seconds']:8.2f} s, {results[name]['peak_gb']:.2f} GB at most")
        else:
            results[name] = compare(method.make(sizes, device), given.rounds, device)
            report(name, method, results[name])
    if given.json:
        write_json(given.json, results)
    return 0 if given.full or all(result["promise"]["kept"] for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
