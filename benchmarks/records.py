"""Seconds that the stage `inputs` takes for forty runs on a data set of Flickr30K's size.

    python -m benchmarks.records --json records.json

A whole process, as DVC starts it, in a project made for it: every recipe with two seeds, 155,070 captions, and the description
of the shards of 31,014 images. The median of three, and as a ratio to `import torch` in the same run: compare these ratios
between machines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
from ruamel.yaml import YAML

from itrcore import layout
from itrcore.data import captions
from itrcore.files import digest, write_json
from itrcore.settings.load import load

ROOT = Path(__file__).parents[1]
LIMIT_SECONDS = 3.0  # what the project promises
RUNS, ROUNDS = 40, 3
IMAGES = {"train": 29_000, "dev": 1_014, "test": 1_000}
CAPTIONS, PER_SHARD = 5, 1_000
DATA = "f30k"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        taken: dict[str, list[float]] = {"torch": [], "records": []}
        for _ in range(ROUNDS):
            taken["torch"].append(_seconds(["-c", "import torch"], folder))
            taken["records"].append(_seconds(["-m", "stages.inputs", DATA], folder))
        made = len(list(Path(folder, layout.inputs("train", DATA)).iterdir()))
    seconds = {name: median(values) for name, values in taken.items()}
    ratio = seconds["records"] / seconds["torch"]
    print(
        f"{made} runs: {seconds['records']:.2f} s, {ratio:.2f} times as long as importing torch ({seconds['torch']:.2f} s)"
    )
    if given.json:
        write_json(given.json, {"runs": made, "cores": os.cpu_count(), "seconds": taken, "of_torch": ratio})
    return 0 if made == RUNS and seconds["records"] <= LIMIT_SECONDS else 1


def _prepare(folder: Path) -> None:
    """A project as far as the stage reads one."""
    for name in ("recipes", "nltk.yaml"):
        os.symlink(ROOT / name, folder / name)
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(
        (ROOT / "experiments/f30k/params.yaml").read_text("utf-8")
    )
    names = list(load(ROOT / "params.yaml").recipes)
    params |= {"root": ".", "ensembles": {}}
    params["datasets"][DATA]["shards"]["images"] = {"samples_per_shard": PER_SHARD, "max_megapixels": 50}
    params["runs"] = {
        f"{method}-{seed}": {"data": DATA, "method": method, "seed": seed}
        for method in names
        for seed in range(1, RUNS // len(names) + 1)
    }
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    rows = [
        (image, f"{image}.jpg", split, image, CAPTIONS * image + at, f"a man rides horse {image} on beach {at}")
        for split, images in IMAGES.items()
        for image in range(images)
        for at in range(CAPTIONS)
    ]
    table = pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), captions.SCHEMA, strict=True)],
        schema=captions.SCHEMA,
    )
    captions.write(table, folder / layout.captions(DATA))
    for shards in (layout.region_shards(DATA), layout.image_shards(DATA)):
        write_json(folder / shards / "shards.json", _described())
    for name in (layout.WORDS, layout.PIECES, layout.VECTORS):
        path = folder / layout.vocabulary(DATA) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(10_000_000))  # as GloVe's 8,481 vectors of 300 values


def _described() -> dict[str, Any]:
    """What shards.json says, as far as digests are made of it."""
    splits = {
        split: {
            "samples": images,
            "index_sha256": "0" * 64,
            "shards": [
                {"file": f"{split}-{at:05d}.tar", "bytes": PER_SHARD, "sha256": "0" * 64}
                for at in range(-(-images // PER_SHARD))
            ],
        }
        for split, images in IMAGES.items()
    }
    value = {"features": "bottom-up attention", "width": 2048, "splits": splits}
    return {**value, "digest": digest(value)}


def _seconds(arguments: list[str], folder: str) -> float:
    started = time.perf_counter()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
