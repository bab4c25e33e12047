"""Training pairs per second and peak memory of reading Flickr30K-sized features, ours against the published way.

    python -m benchmarks.data --json data.json

Ours reads float16 shards at random (`TrainingBatches`). The published way is that of SCAN and of the codes that came
after it: the whole float32 `.npy` in memory, items put together one by one in Python, a `DataLoader`. Both make shuffled
batches of 128 pairs of 36 × 2,048 regions, a fifth of the regions dropped, two touched views of each caption, with two
workers; nothing uses the batches. Beside them stands how many samples ESA-BiGRU trains on in a second here. Each way
runs in a process of its own, after its files were read once; peak memory is the sum over its processes, shared pages
counted once (PSS). Features are simulated. Needs 14 GB of disk and 11 GB of memory at full size; the files are removed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.shards import CAPTIONS, make, memory, write_once
from benchmarks.simulated_arrays import REGIONS, WIDTH
from benchmarks.untrained import method_of, settings_of
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.random_captions import F30K_IDS, F30K_WORDS, WORDS, captions
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.image_inputs import RegionInput
from itrcore.data.shards import writing
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.text.tokens import Tokenised
from itrcore.device import make_accelerator
from itrcore.files import write_json
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.load import load
from itrcore.training.step import make_optimiser

ROOT = Path(__file__).parents[1]
WAYS = ("ours", "published", "esa_step")
WARM_UP = 5  # batches
TIMES, LIMIT_MB = 3.0, 1500  # what the project promises
METHOD = settings_of("esa_bigru")
MODEL: Any = METHOD.model
SIZE = METHOD.recipe.batch_size


def captions_of(n_images: int) -> list[Tokenised]:
    """Five captions an image."""
    return captions(n_images * CAPTIONS, F30K_IDS, WORDS, np.random.default_rng(0))


def views() -> Views:
    """As in ESA-BiGRU's recipe. Regions are dropped here as VSE∞ drops them, which is more work."""
    return Views(MODEL.views, (MODEL.token_views, F30K_IDS))


def ours(folder: Path, n_images: int) -> Iterator[Any]:
    store = FeatureStore(folder / "regions", "train")
    store.verify()  # as before a training
    image_of = np.repeat(np.arange(n_images), CAPTIONS)
    images = RegionImages(store, RegionInput(MODEL.region_drop))
    split = Split(images, range(len(image_of)), TokenTable.of(captions_of(n_images)), image_of)
    batches = TrainingBatches(split, SIZE, 0, views())
    for epoch in itertools.count():
        yield from batches.epoch(epoch)


class PublishedPairs(Dataset):
    """Everything in memory; an item is one pair."""

    def __init__(self, path: Path, n_images: int) -> None:
        self.images, self.views = np.load(path), views()
        self.captions = [np.array(caption.ids) for caption in captions_of(n_images)]

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, list[torch.Tensor], int]:
        image = self.images[index // CAPTIONS]
        image = image[np.where(np.random.rand(len(image)) > MODEL.region_drop)[0]]
        captions = [torch.Tensor(self.touched(self.captions[index])) for _ in range(self.views.captions)]
        return torch.Tensor(image), captions, index

    def touched(self, caption: np.ndarray) -> list[int]:
        assert self.views.touch
        settings = self.views.touch[0]
        tokens = []
        for token in caption.tolist():
            if token > 3 and random.random() < settings.touch:
                kind = random.random()
                if kind < settings.mask:
                    tokens.append(F30K_IDS.mask)
                elif kind < settings.mask + settings.random:
                    tokens.append(random.randrange(4, F30K_WORDS))
            else:
                tokens.append(token)
        return tokens


def collate(pairs: list[tuple[torch.Tensor, list[torch.Tensor], int]]) -> tuple[Any, ...]:
    """Pad regions and captions to the longest, one by one."""
    lengths = [len(image) for image, _, _ in pairs]
    images = torch.zeros(len(pairs), max(lengths), pairs[0][0].shape[-1])
    for row, (image, _, _) in enumerate(pairs):
        images[row, : lengths[row]] = image
    captions = [caption for _, of_pair, _ in pairs for caption in of_pair]
    caption_lengths = [len(caption) for caption in captions]
    ids = torch.zeros(len(captions), max(caption_lengths)).long()
    for row, caption in enumerate(captions):
        ids[row, : caption_lengths[row]] = caption
    return images, lengths, ids, caption_lengths, [index for _, _, index in pairs]


def published(folder: Path, n_images: int) -> Iterator[Any]:
    pairs = PublishedPairs(folder / "scan" / "train_ims.npy", n_images)
    loader = DataLoader(pairs, SIZE, shuffle=True, num_workers=2, collate_fn=collate, drop_last=True)
    while True:
        yield from loader


def esa_steps(folder: Path, n_images: int) -> Iterator[None]:
    """Steps on one batch that is there already, with every core; the rest as in `itrcore/training/loop.py`."""
    accelerator = make_accelerator(load(ROOT / "params.yaml").training)
    objective = Objective.of(METHOD, method_of(METHOD))
    recipe = METHOD.recipe
    model, optimiser = accelerator.prepare(objective, make_optimiser(objective, recipe)[0])
    ids = [np.array(caption.ids) for caption in captions_of(SIZE)[::CAPTIONS] for _ in range(MODEL.views)]
    images = RegionBatch(torch.rand(SIZE, REGIONS, WIDTH), torch.full((SIZE,), REGIONS))
    batch = Batch(images, TextBatch.pad(ids), list(range(SIZE)), list(range(SIZE))).to(accelerator.device)
    for step in itertools.count():
        with accelerator.autocast():
            total = model(batch, Progress(METHOD.loss.warmup_epochs, step)).total
        float(total.detach())  # waits for the device, as the loop does
        optimiser.zero_grad()
        accelerator.backward(total)
        accelerator.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        yield


def measure(way: str, folder: Path, n_images: int, seconds: float) -> dict[str, Any]:
    """One way, in this process: samples per second over at least so many seconds, after a few batches to warm up."""
    iterator = {"ours": ours, "published": published, "esa_step": esa_steps}[way](folder, n_images)
    for _ in range(WARM_UP):
        next(iterator)
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds or done < WARM_UP:
        next(iterator)
        done += 1
    return {"samples_per_s": done * SIZE / passed, "batches": done}


def in_process(way: str, folder: Path, n_images: int, seconds: float) -> dict[str, Any]:
    """One way, in a process of its own, with its peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.data", "--way", way]
    command += ["--images", str(n_images), "--folder", str(folder), "--seconds", str(seconds)]
    child = psutil.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(memory(child)))
        time.sleep(0.05)
    if child.returncode:
        raise SystemExit(f"{way} failed")
    result: dict[str, Any] = json.loads(child.stdout.read())
    return {**result, "peak_mb": peak / 1e6}


def prepare(folder: Path, n_images: int) -> None:
    """Features and shards, where the folder does not have them."""
    if not (folder / "scan" / "captions.parquet").exists():
        make(folder / "scan", n_images)
    if not (folder / "regions").exists():
        writing.move(write_once(folder / "scan"), folder / "regions")
    if len(FeatureStore(folder / "regions", "train")) != n_images:
        raise SystemExit(f"{folder} holds another number of images; give --images accordingly")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=29000, help="of train")
    parser.add_argument("--folder", type=Path, help="make the files here, or use those that are; they stay")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure each, at least")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--way", choices=WAYS, help="measure this way in this process, print JSON")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.folder, given.images, given.seconds)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        prepare(folder, given.images)
        ways = {way: in_process(way, folder, given.images, given.seconds) for way in WAYS}
    ratio = ways["ours"]["samples_per_s"] / ways["esa_step"]["samples_per_s"]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores"
    print(f"{given.images:,} images of {REGIONS} × {WIDTH:,}, batches of {SIZE}, simulated features, {device}")
    print(f"{'':10} {'samples/s':>10} {'peak MB':>8}")
    for way, value in ways.items():
        print(f"{way:10} {value['samples_per_s']:10,.0f} {value['peak_mb']:8,.0f}")
    faster = ways["ours"]["samples_per_s"] / ways["published"]["samples_per_s"]
    kept = ratio >= TIMES and ways["ours"]["peak_mb"] < LIMIT_MB
    print(f"ours gives {faster:.1f} times what the published way gives, and {ratio:.1f} times what a step takes;")
    print(f"{'within' if kept else 'OUTSIDE'} {TIMES:g} times and {LIMIT_MB:,} MB")
    if given.json:
        shape = {"n_images": given.images, "device": device}
        write_json(given.json, {**shape, **ways, "ratio_to_step": ratio, "within_limits": kept})
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
