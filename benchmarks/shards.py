"""Seconds and peak memory of writing Flickr30K-sized region shards, against plain copying of the same bytes.

    python -m benchmarks.shards --json shards.json

Makes simulated features (float32, 36 × 2,048) in SCAN's layout, writes them into float16 shards by the real code, and
copies those shards file by file in 4 MB blocks on the same disk, in turn and several times; both flush to the disk.
Beforehand the input is either dropped from the system's cache (`disk`) or read once (`cache`). Peak memory is the sum
over all writing processes, shared pages counted once (PSS). Needs 19 GB of disk at full size; all of it is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.simulated_arrays import feature_rows
from itrcore.data import captions, scan_writing
from itrcore.data.shards import region_writer
from itrcore.data.sources import caption_table as splits
from itrcore.files import remove, write_json
from itrcore.settings.datasets import SPLITS, RegionShardSettings

DEV, TEST = 1014, 1000
CAPTIONS = 5
SHARE, LIMIT_GB = 0.5, 1.0  # of copying's speed; what the project promises
BLOCK = 4 << 20
SETTINGS = RegionShardSettings(dtype="float16", samples_per_shard=1000)


def make(folder: Path, n_images: int) -> None:
    """Features, captions and ids in SCAN's layout, and the caption table."""
    folder.mkdir()
    first = 0
    for split, n in (("train", n_images), ("dev", DEV), ("test", TEST)):
        ids = range(first, first + n)
        lines = [
            [f"A man in a blue shirt stands on ladder {i} and cleans a window." for _ in range(CAPTIONS)] for i in ids
        ]
        scan_writing.write_split(folder, split, (n, 36, 2048), feature_rows(n), ids, lines, "image")
        first += n
    captions.write(splits.from_scan(folder, {split: split for split in SPLITS}, None), folder / "captions.parquet")


def write_once(folder: Path) -> Path:
    """The real code, with as many processes as it chooses."""
    names = {split: split for split in SPLITS}
    return region_writer.write(
        folder, names, folder / "captions.parquet", "simulated", SETTINGS, folder.parent / "work"
    )


def timed_write(folder: Path) -> dict[str, Any]:
    """`write_once` in a process of its own: seconds, peak memory over its tree, and where the shards are."""
    command = [sys.executable, "-m", "benchmarks.shards", "--write", str(folder)]
    child = psutil.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    peak, most = 0, 0
    while child.poll() is None:
        sizes = list(memory(child))
        peak, most = max(peak, sum(sizes)), max(most, len(sizes))
        time.sleep(0.2)  # reading its memory slows a process down
    if child.returncode:
        raise SystemExit(child.returncode)
    return {**json.loads(child.stdout.read()), "peak_gb": peak / 1e9, "processes": most}


def memory(process: psutil.Process) -> Iterator[int]:
    """Bytes of each process of a tree, shared pages divided among those that share them."""
    for member in [process, *process.children(recursive=True)]:
        try:
            yield member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def timed_copy(shards: Path, target: Path) -> float:
    """Seconds to copy every file of a folder, one after the other, flushed to the disk."""
    target.mkdir()
    started = time.perf_counter()
    for path in sorted(shards.iterdir()):
        with open(path, "rb", buffering=0) as source, open(target / path.name, "wb", buffering=0) as copy:
            while block := source.read(BLOCK):
                copy.write(block)
            os.fsync(copy.fileno())
    seconds = time.perf_counter() - started
    remove(target)
    return seconds


def prepare(folder: Path, state: str) -> None:
    """Drop a folder's files from the system's cache, or read them into it."""
    for path in folder.iterdir():
        with open(path, "rb", buffering=0) as handle:
            if state == "disk":
                os.fsync(handle.fileno())
                os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while handle.read(BLOCK):
                    pass


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """All rounds; shards are written anew and copied each time."""
    result: dict[str, Any] = {}
    for state in ("disk", "cache"):
        written, copied = [], []
        for _ in range(rounds):
            prepare(folder / "scan", state)
            written.append(timed_write(folder / "scan"))
            shards = Path(written[-1]["folder"])
            prepare(shards, state)
            copied.append(timed_copy(shards, folder / "copy"))
            n_bytes = sum(path.stat().st_size for path in shards.iterdir())
            remove(folder / shards.parent.name)
        result[state] = {
            "write_seconds": [round(one["seconds"], 2) for one in written],
            "copy_seconds": [round(seconds, 2) for seconds in copied],
            "write_mb_per_s": n_bytes / 1e6 / float(np.median([one["seconds"] for one in written])),
            "copy_mb_per_s": n_bytes / 1e6 / float(np.median(copied)),
            "peak_gb": max(one["peak_gb"] for one in written),
            "processes": max(one["processes"] for one in written),
        }
        result[state]["share"] = result[state]["write_mb_per_s"] / result[state]["copy_mb_per_s"]
    return {"gb": n_bytes / 1e9, **result}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=29000, help="of train; dev and test have Flickr30K's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="a folder on the disk to measure; by default the temporary files'")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", type=Path, help="write this folder's shards in this process, print JSON")
    given = parser.parse_args()
    if given.write:
        started = time.perf_counter()
        shards = write_once(given.write)
        print(json.dumps({"seconds": time.perf_counter() - started, "folder": str(shards)}))
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        make(Path(temporary) / "scan", given.images)
        result = measure(Path(temporary), given.rounds)
    print(f"{given.images + DEV + TEST:,} images, {result['gb']:.2f} GB of shards, {os.cpu_count()} cores")
    print(f"{'input':8} {'write MB/s':>11} {'copy MB/s':>10} {'share':>6} {'peak GB':>8}")
    for state in ("disk", "cache"):
        one = result[state]
        print(
            f"{state:8} {one['write_mb_per_s']:11.0f} {one['copy_mb_per_s']:10.0f} {one['share']:6.2f} {one['peak_gb']:8.2f}"
        )
    kept = all(result[state]["share"] >= SHARE and result[state]["peak_gb"] <= LIMIT_GB for state in ("disk", "cache"))
    print(f"{'within' if kept else 'OVER'} {SHARE:g} of copying's speed and {LIMIT_GB:g} GB")
    if given.json:
        write_json(given.json, {"n_images": given.images, "cores": os.cpu_count(), **result, "within_limits": kept})
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
