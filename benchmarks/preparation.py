"""Seconds from the start of a training to its first batch, on a data set of MS-COCO's size: the first time and the second time.

    python -m benchmarks.preparation --json preparation.json

113,287 images with five captions each to train on, 5,000 for dev, 5,000 for test. Captions are random words that are as long as
Flickr30K's captions. Shards are real ones, of fewer values for each region: 36 × 256, 2.5 GB; MS-COCO's of SCAN's features have
eight times as many bytes. Each time is one process of its own, as DVC starts it, up to the first batch; the shards are in the
system's cache both times. Compare the ratios between machines. Needs 7 GB of disk; all is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from benchmarks.simulated_arrays import REGIONS, feature_rows
from itrcore import intact, layout
from itrcore.data import captions as caption_table
from itrcore.data import scan_writing
from itrcore.data.feeding.random_captions import F30K_IDS, F30K_WORDS, WORDS, captions
from itrcore.data.shards import region_writer, writing
from itrcore.data.shards.verified import SETTLED
from itrcore.data.text.vocabulary import SPECIAL, Vocabulary, WordSplitter
from itrcore.files import write_json
from itrcore.settings.datasets import SPLITS, RegionShardSettings

ROOT = Path(__file__).parents[1]
DATA, RUN, METHOD = "coco", "coco-1", "vse_infty_bigru"
IMAGES = {"train": 113_287, "dev": 5_000, "test": 5_000}
CAPTIONS, WIDTH, PER_SHARD = 5, 256, 1_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=float, default=1.0, help="of MS-COCO's images")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--prepare", action="store_true", help="prepare a training in this folder, print seconds as JSON"
    )
    given = parser.parse_args()
    if given.prepare:
        print(json.dumps(_prepared()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder), {split: max(1, round(images * given.part)) for split, images in IMAGES.items()})
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*.tar"))
        time.sleep(SETTLED + 1)  # files that have just been written are read again
        first, second = (_in_process(folder) for _ in range(2))
    print(f"{n_bytes / 1e9:.1f} GB of shards{'first time':>14} {'second':>9} {'ratio':>6}")
    for part in first:
        print(f"{part:20} {first[part]:10.1f} s {second[part]:7.1f} s {second[part] / first[part]:6.2f}")
    ratio = second["all"] / first["all"]
    if given.json:
        figures = {"first": first, "second": second, "ratio": ratio}
        write_json(given.json, {"bytes": n_bytes, "part": given.part, "cores": os.cpu_count(), **figures})
    return 0


def _in_process(folder: str) -> dict[str, float]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    started, computed = time.perf_counter(), _cpu_of_children()
    command = [sys.executable, "-m", "benchmarks.preparation", "--prepare"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
    )
    *said, seconds = done.stdout.splitlines()
    print("\n".join(said))
    passed = {"all": time.perf_counter() - started, "all, of CPU": _cpu_of_children() - computed}
    return {**json.loads(seconds), **passed}


def _cpu_of_children() -> float:
    """Seconds; other programs on the machine do not count."""
    return sum(os.times()[2:4])


def _prepared() -> dict[str, float]:
    """What `itrcore/training/train.py` does before its first step."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[part] = time.perf_counter() - started

    with timed("imports"):
        from itrcore.assets import assets
        from itrcore.data.feeding.order import TrainingBatches, Views
        from itrcore.data.feeding.prepared import feature_width, open_split
        from itrcore.methods.build import build
        from itrcore.runs import inputs
        from itrcore.settings.load import load
    params = load()
    settings = params.method_of(RUN)
    with timed("record"):
        inputs.training(params, RUN)
    with timed("method"):
        prepared = assets.prepare(
            settings.model, layout.vocabulary(DATA), layout.NLTK, feature_width(DATA), layout.concepts(DATA)
        )
        method = build(settings, prepared.image, prepared.text.source, 1)
    with timed("splits"):
        train, _ = (open_split(DATA, split, prepared.text.tokeniser, method.input) for split in ("train", "dev"))
    with timed("first batch"):
        next(TrainingBatches(train, settings.recipe.batch_size, 1, Views()).epoch(0))
    return seconds


def _make(folder: Path, images: dict[str, int]) -> None:
    """A project as far as a training reads one."""
    for name in ("recipes", "nltk.yaml"):
        os.symlink(ROOT / name, folder / name)
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(
        (ROOT / "experiments/coco/params.yaml").read_text("utf-8")
    )
    params |= {"root": ".", "ensembles": {}, "runs": {RUN: {"data": DATA, "method": METHOD, "seed": 1}}}
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(params, file)
    words = [*SPECIAL, *(_word(number) for number in range(len(SPECIAL), F30K_WORDS))]
    (folder / layout.vocabulary(DATA)).mkdir(parents=True)
    Vocabulary(words, WordSplitter(None)).save(folder / layout.vocabulary(DATA) / layout.WORDS)
    intact.seal(folder / layout.vocabulary(DATA))
    raw = folder / "raw"
    raw.mkdir()
    columns: dict[str, list[Any]] = {name: [] for name in caption_table.SCHEMA.names}
    first, rng = 0, np.random.default_rng(0)
    for split, n in images.items():
        texts = [
            " ".join(words[token] for token in caption.ids[1:-1]).capitalize() + "."
            for caption in captions(n * CAPTIONS, F30K_IDS, WORDS, rng)
        ]
        ids = range(first, first + n)
        groups = [texts[start : start + CAPTIONS] for start in range(0, len(texts), CAPTIONS)]
        scan_writing.write_split(raw, split, (n, REGIONS, WIDTH), feature_rows(n, REGIONS, WIDTH), ids, groups, "image")
        columns["image_id"] += [image for image in ids for _ in range(CAPTIONS)]
        columns["file_name"] += [f"{image:012d}.jpg" for image in ids for _ in range(CAPTIONS)]
        columns["split"] += [split] * len(texts)
        columns["position"] += [place for place in range(n) for _ in range(CAPTIONS)]
        columns["caption_id"] += range(first * CAPTIONS, (first + n) * CAPTIONS)
        columns["text"] += texts
        first += n
    caption_table.write(pa.table(columns, caption_table.SCHEMA), folder / layout.captions(DATA))
    settings = RegionShardSettings(dtype="float16", samples_per_shard=PER_SHARD)
    names = {split: split for split in SPLITS}
    table = folder / layout.captions(DATA)
    shards = region_writer.write(raw, names, table, "simulated", settings, folder / "work")
    writing.move(shards, folder / layout.region_shards(DATA))
    shutil.rmtree(raw)


def _word(number: int) -> str:
    """A word of letters."""
    letters = ""
    while number:
        number, letter = divmod(number, 26)
        letters += chr(ord("a") + letter)
    return letters


if __name__ == "__main__":
    sys.exit(main())
