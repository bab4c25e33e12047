"""Pictures per second of EfficientNet-Lite0's features on one core, part by part, and of the whole stage.

    python -m benchmarks.features --json features.json

The pictures are those of `benchmarks.pictures`: JPEGs of 500 × 375, as slow to decode as Flickr30K's. `stage` is what
`features@<data>` does in one process, with reading and writing of shards. Other work on the machine slows wall time: beside it
stands the CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from benchmarks.pictures import make
from itrcore.extraction import shards
from itrcore.extraction.load import load
from itrcore.files import remove, write_json
from itrcore.settings.features import FeatureSettings, Lite0Settings

TOGETHER, DEVICE = 16, torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = Lite0Settings(kind="lite0", framing="published")
    settings = FeatureSettings(extractor=chosen, dtype="float16", samples_per_shard=500)
    extractor = load(chosen)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make(folder, arguments.pictures)
        rows = range(len(store))
        pictures = [store.image(row) for row in rows]

        def stage() -> None:
            work = folder / "features" / "regions"
            shards.write(store.folder, folder / "captions.parquet", "", settings, work, DEVICE, processes=1)
            remove(work.parent)

        parts: dict[str, Callable[[], object]] = {
            "decoding": lambda: [store.image(row) for row in rows],
            "model": lambda: [extractor(pictures[first : first + TOGETHER]) for first in rows[::TOGETHER]],
            "stage": stage,
        }
        figures = {part: measured(do, len(rows), arguments.repeats) for part, do in parts.items()}
    for part, (wall, cpu) in figures.items():
        print(f"{part:9} {wall:6.1f} pictures/s, {1e3 * cpu:5.1f} ms of CPU a picture ({1 / cpu:.1f} a second of it)")
    if arguments.json:
        kept = {part: {"pictures_per_s": wall, "cpu_s": cpu} for part, (wall, cpu) in figures.items()}
        write_json(arguments.json, {"pictures": arguments.pictures, "repeats": arguments.repeats, "parts": kept})


def measured(do: Callable[[], object], pictures: int, repeats: int) -> tuple[float, float]:
    """Medians: pictures per second of wall time, CPU seconds per picture. One more run comes first."""
    walls, cpus = [], []
    for repeat in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        do()
        if repeat:
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    return pictures / median(walls), median(cpus) / pictures


if __name__ == "__main__":
    main()
