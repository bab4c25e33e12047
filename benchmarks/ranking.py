"""Seconds and peak memory of ranking a COCO-sized test split, ours against the published way.

    python -m benchmarks.ranking --json ranking.json

The published way is that of SCAN's `i2t` and `t2i` and of the codes that came after it: sort every query's scores and
look where the right answer stands. Each way runs in a process of its own; peak memory includes the similarity matrix
itself (float32, 5 captions an image) and Python with numpy. Times do not include making the matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from itrcore.files import write_json
from itrcore.ranking import metrics, ranks

CAPTIONS = 5
LIMIT_SECONDS, LIMIT_GB = 5.0, 3.0  # what the project promises for 5,000 × 25,000 on 2 cores


def matrix(n_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n_images, 5 · n_images) with right pairs a little above the noise, and each caption's image."""
    image_of = np.repeat(np.arange(n_images), CAPTIONS)
    scores = np.random.default_rng(0).standard_normal((n_images, len(image_of)), dtype=np.float32)
    scores[image_of, np.arange(len(image_of))] += 3
    return scores, image_of


def published(scores: np.ndarray) -> float:
    """rsum, query by query."""
    n_images, n_captions = scores.shape
    image_ranks, caption_ranks = np.zeros(n_images), np.zeros(n_captions)
    for image in range(n_images):
        order = np.argsort(scores[image])[::-1]
        image_ranks[image] = min(np.where(order == CAPTIONS * image + c)[0][0] for c in range(CAPTIONS))
    transposed = scores.T
    for caption in range(n_captions):
        order = np.argsort(transposed[caption])[::-1]
        caption_ranks[caption] = np.where(order == caption // CAPTIONS)[0][0]
    return sum(100 * float((ranks < k).mean()) for ranks in (image_ranks, caption_ranks) for k in (1, 5, 10))


def measure(way: str, n_images: int) -> dict[str, Any]:
    """One way, in this process."""
    scores, image_of = matrix(n_images)
    started = time.perf_counter()
    rsum = metrics(ranks(scores, image_of))["rsum"] if way == "ours" else published(scores)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return {
        "seconds": seconds,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9,
        "rsum": rsum,
    }


def in_process(way: str, n_images: int) -> dict[str, Any]:
    """One way, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ranking", "--images", str(n_images), "--way", way]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--way", choices=["ours", "published"], help="measure this way in this process, print JSON")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.images)))
        return 0
    ways = {way: in_process(way, given.images) for way in ("ours", "published")}
    ratio = ways["published"]["seconds"] / ways["ours"]["seconds"]
    print(f"{given.images:,} images × {given.images * CAPTIONS:,} captions, {os.cpu_count()} cores")
    print(f"{'':10} {'seconds':>9} {'peak GB':>8} {'rsum':>7}")
    for way, value in ways.items():
        print(f"{way:10} {value['seconds']:9.2f} {value['peak_gb']:8.2f} {value['rsum']:7.2f}")
    kept = ways["ours"]["seconds"] <= LIMIT_SECONDS and ways["ours"]["peak_gb"] <= LIMIT_GB
    print(f"{ratio:.0f} times as fast; {'within' if kept else 'OVER'} {LIMIT_SECONDS:g} s and {LIMIT_GB:g} GB")
    if given.json:
        shape = {"n_images": given.images, "n_captions": given.images * CAPTIONS, "cores": os.cpu_count()}
        write_json(given.json, {**shape, **ways, "ratio": ratio, "within_limits": kept})
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
