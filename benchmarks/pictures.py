"""Training pictures per second and core, part by part: bytes that a GPU normalises against the plain way of a `DataLoader`.

    python -m benchmarks.pictures --json pictures.json

The pictures are made: JPEGs of 500 × 375, as large in bytes and as slow to decode as Flickr30K's (140 kB). Two inputs: CLIP's
squares of 224, and the grids' of 256, cropped and mirrored at random. Ours is what a training with a GPU does before a batch
crosses: reading from shards, decoding and framing in threads. The plain way is that of published codes: a `DataLoader` with
processes, whose items are float32 pictures, normalised one by one. Nothing uses the batches. `held` takes CLIP's squares from
memory, as a device does that holds them all. That both ways make the same pictures is checked (the exit status). Other work on
the machine slows wall time: beside it stands the CPU time of one picture, by part.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.untrained import settings_of
from itrcore.data import captions, pictures
from itrcore.data.feeding.ahead import ahead
from itrcore.data.feeding.batches import PixelBatch
from itrcore.data.feeding.pixels import PixelImages, frame, random_crop
from itrcore.data.image_inputs import PixelInput
from itrcore.data.shards import image_writer
from itrcore.data.shards.images import ImageStore
from itrcore.files import write_json
from itrcore.pretrained import backbone, clip
from itrcore.settings.datasets import ImageShardSettings
from itrcore.settings.encoders import CLIPSettings
from itrcore.settings.methods import SetSettings

SIZE, QUALITY, NOISE = (500, 375), 95, 12
CPU, GPU = torch.device("cpu"), torch.device("meta")  # whatever is no CPU is given the batches of a GPU
NEAR = 1e-4  # of normalised values: the plain way divides by 255 first


def inputs() -> dict[str, PixelInput]:
    """By name: of ESL-CLIP and of ESA on grid features, as published."""
    of_clip, of_grid = (settings_of(recipe).model for recipe in ("esl_h_clip", "esa_bert_grid"))
    assert isinstance(of_clip.text, CLIPSettings) and isinstance(of_grid, SetSettings) and of_grid.grid is not None
    config = clip.known_config(of_clip.text.weights, of_clip.text.revision)
    return {"clip": clip.pixel_input(config), "grid": backbone.pixel_input(of_grid.grid)}


def make(folder: Path, n: int) -> ImageStore:
    """So many pictures as files and as shards."""
    rng, photos = np.random.default_rng(0), folder / "photos"
    photos.mkdir()
    for number in range(n):
        smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth) + rng.normal(0, NOISE, (*SIZE[::-1], 1))
        made = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        made.save(photos / f"{number}.jpg", quality=QUALITY, subsampling=0)
    rows = [(i, f"{i}.jpg", "train", i, i, "a picture") for i in range(n)]
    rows += [(n + i, f"{i}.jpg", split, 0, n + i, "a picture") for i, split in enumerate(("dev", "test"))]
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=captions.SCHEMA)
    captions.write(table, folder / "captions.parquet")
    settings = ImageShardSettings(samples_per_shard=1000, max_megapixels=1.0)
    out = image_writer.write(folder / "captions.parquet", photos, settings, folder / "work", processes=1)
    return ImageStore(out, "train")


class PlainPictures(Dataset[Tensor]):
    """An item is one picture as published codes prepare it, with `given`'s crop and mirror drawn from (0, row)."""

    def __init__(self, folder: Path, n: int, given: PixelInput) -> None:
        self.folder, self.n, self.given = folder, n, given

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int) -> Tensor:
        given, rng = self.given, np.random.default_rng([0, row])
        with Image.open(self.folder / f"{row}.jpg") as opened:
            picture = opened.convert("RGB")
        if given.random_crop is not None:
            picture = random_crop(picture, given.random_crop, rng)
        if given.framing == "crop":
            side, short = given.picture, min(picture.size)
            width, height = (int(side * length / short) for length in picture.size)
            left, top = round((width - side) / 2), round((height - side) / 2)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            picture = picture.crop((left, top, left + side, top + side))
        square = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(given.scale)
        if given.framing == "stretch":
            shape = (given.picture, given.picture)
            square = functional.interpolate(square[None], shape, mode="bilinear", align_corners=False)[0]
        if given.flip and rng.random() < 0.5:
            square = square.flip(-1)
        square = square.flip(0) if given.bgr else square
        mean, std = (torch.tensor(of)[:, None, None] for of in (given.mean, given.std))
        return (square - mean) / std


def plain(folder: Path, n: int, given: PixelInput, batch: int, workers: int) -> Iterator[Any]:
    pairs = PlainPictures(folder / "photos", n, given)
    sampler = RandomSampler(pairs, replacement=True, num_samples=2**16)  # one epoch: workers start anew for each
    return iter(DataLoader(pairs, batch, sampler=sampler, num_workers=workers))


def ours(store: ImageStore, given: PixelInput, batch: int, threads: int) -> Iterator[PixelBatch]:
    images, n = PixelImages(store, given).feeding(GPU, hold=False), len(store)

    def made(step: int) -> PixelBatch:
        rng = np.random.default_rng([0, step])
        return images.training_batch(rng.integers(n, size=batch), rng)

    return ahead(made, range(2**20), threads)


def held(store: ImageStore, given: PixelInput, batch: int) -> Iterator[PixelBatch]:
    images, rng = PixelImages(store, given).feeding(CPU, hold=True), np.random.default_rng(0)
    while True:
        yield images.training_batch(rng.integers(len(store), size=batch), rng)


def rate(batches: Iterator[Any], batch: int, seconds: float) -> float:
    """Pictures a second; what is ready at the beginning does not count."""
    for _ in islice(batches, 4):
        pass
    started, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds or not done:
        next(batches)
        done += batch
    return done / passed


def parts(store: ImageStore, given: PixelInput, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU time that one picture takes in one thread, the fastest of some rounds."""
    rows, rng, images = range(min(64, len(store))), np.random.default_rng(0), PixelImages(store, given)
    packed = [store.bytes(row) for row in rows]
    whole = [pictures.decode(data, Path("made")) for data in packed]
    share = given.random_crop
    cropped = whole if share is None else [random_crop(picture, share, rng) for picture in whole]
    squares = [frame(picture, given) for picture in cropped]
    stacked = torch.stack(squares)
    work: dict[str, Callable[[], object]] = {
        "reading": lambda: [store.bytes(row) for row in rows],
        "decoding": lambda: [pictures.decode(data, Path("made")) for data in packed],
        "random crop": lambda: [random_crop(picture, share or 1.0, rng) for picture in whole],
        "framing": lambda: [frame(picture, given) for picture in cropped],
        "stacking": lambda: torch.stack(squares),
        "normalising": lambda: images.normalise(stacked),
    }
    if share is None:
        del work["random crop"]
    return {name: min(cpu(do) for _ in range(rounds)) * 1000 / len(rows) for name, do in work.items()}


def whole(store: ImageStore, folder: Path, given: PixelInput, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU time of one picture in a whole batch, both ways in turns in one thread, the fastest of some rounds."""
    rows, images = range(min(64, len(store))), PixelImages(store, given).feeding(GPU, hold=False)
    items = PlainPictures(folder / "photos", len(store), given)
    work: dict[str, Callable[[], object]] = {
        "plain": lambda: torch.stack([items[row] for row in rows]),
        "ours": lambda: images.training_batch(rows, np.random.default_rng(0)),
    }
    times = [{name: cpu(do) for name, do in work.items()} for _ in range(rounds)]
    return {name: min(time[name] for time in times) * 1000 / len(rows) for name in work}


def cpu(do: Callable[[], object]) -> float:
    """Seconds."""
    started = time.thread_time()
    do()
    return time.thread_time() - started


def same(store: ImageStore, folder: Path, given: PixelInput) -> bool:
    """Whether both ways make the same of the first pictures."""
    items, images = PlainPictures(folder / "photos", len(store), given), PixelImages(store, given)
    pairs = [(items[row], images.training_batch([row], np.random.default_rng([0, row])).pixels[0]) for row in range(4)]
    return all(torch.allclose(one, other, rtol=0, atol=NEAR * given.scale) for one, other in pairs)


def measure(store: ImageStore, folder: Path, given: PixelInput, batch: int, seconds: float, rounds: int) -> Any:
    """One input: rates with one and two workers in turns, and the parts of one picture."""
    ways: dict[str, Callable[[], Iterator[Any]]] = {}
    for workers in (1, 2):
        ways[f"plain, processes: {workers}"] = partial(plain, folder, len(store), given, batch, workers)
        ways[f"ours, threads: {workers}"] = partial(ours, store, given, batch, workers)
    if PixelImages(store, given).n_bytes:
        ways["held"] = partial(held, store, given, batch)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(rate(way(), batch, seconds))
    crossing = PixelImages(store, given).feeding(GPU, hold=False).batch([0]).pixels.nbytes
    return {
        "pictures_per_s": {name: median(found) for name, found in rates.items()},
        "ratio": median(a / b for a, b in zip(rates["ours, threads: 2"], rates["plain, processes: 2"], strict=True)),
        "two_threads": median(a / b for a, b in zip(rates["ours, threads: 2"], rates["ours, threads: 1"], strict=True)),
        "whole_ms": whole(store, folder, given, 3 * rounds),
        "ms": parts(store, given, 3 * rounds),
        "kb_crossing": crossing / 1000,
        "same": same(store, folder, given),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to measure each way in a round, at least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs", nargs="+", choices=("clip", "grid"), default=["clip", "grid"])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"cores": os.cpu_count(), "pictures": given.pictures, "made": True}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make(folder, given.pictures)
        found["kb"] = sum(len(store.bytes(row)) for row in range(len(store))) / len(store) / 1000
        print(f"{len(store)} made pictures of {found['kb']:.0f} kB, batches of {given.batch}, {os.cpu_count()} cores")
        for name in given.inputs:
            one = found[name] = measure(store, folder, inputs()[name], given.batch, given.seconds, given.rounds)
            print(f"{name}: {one['kb_crossing']:.0f} kB of a picture cross; ms of CPU time of one picture:")
            print("    " + ", ".join(f"{part} {ms:.3f}" for part, ms in one["ms"].items()))
            print("    in all: " + ", ".join(f"{way} {ms:.2f}" for way, ms in one["whole_ms"].items()))
            for way, speed in one["pictures_per_s"].items():
                print(f"    {way:20} {speed:9,.0f} pictures/s")
            print(
                f"    ours gives {one['ratio']:.2f} times the plain way; two threads {one['two_threads']:.2f} times one"
            )
            if not one["same"]:
                print("    NOT THE SAME PICTURES")
    if given.json:
        write_json(given.json, found)
    return 0 if all(found[name]["same"] for name in given.inputs) else 1


if __name__ == "__main__":
    sys.exit(main())
