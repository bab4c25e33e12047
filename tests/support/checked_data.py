"""A small data set with captions, features, boxes and pictures, in which tests plant what `itr data check` must find."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itrcore.data import scan_writing
from itrcore.data.examine.examination import Examined, examine
from itrcore.data.examine.problems import Problem
from itrcore.settings.params import Params
from tests.support.tiny_project import write_params

SIZES = {"train": 8, "dev": 3, "test": 4}
REGIONS, WIDTH, PICTURE = 3, 5, (40, 30)
IDS = {"train": range(100, 108), "dev": range(108, 111), "test": range(111, 115)}
_KINDS = ("cat", "dog", "bird", "horse", "cow")


@dataclass
class Toy:
    """The data set before it is written; a picture's file name is `<image id>.png`."""

    features: dict[str, np.ndarray]
    boxes: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]
    pictures: dict[str, bytes]
    label: str = "synthetic"


def clean() -> Toy:
    """Nothing is wrong with it: no caption, array or picture comes twice."""
    rng = np.random.default_rng(4)
    number = {i: _KINDS[i // 25] + " " + _KINDS[i // 5 % 5] + " " + _KINDS[i % 5] for i in range(100, 115)}
    return Toy(
        {split: rng.normal(2, 1, (n, REGIONS, WIDTH)).astype(np.float32) for split, n in SIZES.items()},
        {split: np.tile(np.float32([2, 3, 20, 15]), (n, REGIONS, 1)) for split, n in SIZES.items()},
        {split: [[f"A {number[i]}.", f"The {number[i]} runs."] for i in ids] for split, ids in IDS.items()},
        {f"{i}.png": picture(i) for ids in IDS.values() for i in ids},
    )


def picture(seed: int) -> bytes:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (PICTURE[1], PICTURE[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(toy: Toy, folder: Path, **shards: Any) -> Params:
    """A project whose data set `toy` has its SCAN folder in `scan`; no stage has run. `shards` adds to its settings."""
    place = folder / "scan"
    (place / "images").mkdir(parents=True)
    for split, features in toy.features.items():
        ids, captions, boxes = list(IDS[split]), toy.captions[split], toy.boxes[split]
        scan_writing.write_split(place, split, features.shape, features, ids, captions, "caption", boxes)
    scan_writing.write_id_mapping(place, {i: f"{i}.png" for ids in IDS.values() for i in ids})
    for name, data in toy.pictures.items():
        (place / "images" / name).write_bytes(data)
    dataset = {
        "reads": "scan",
        "source": {
            "kind": "scan",
            "folder": "scan",
            "features": toy.label,
            "splits": {split: split for split in SIZES},
        },
        "vocabulary": {"min_count": 1},
        "shards": {"regions": {"dtype": "float32", "samples_per_shard": 5}, **shards},
    }
    return write_params(folder, {"datasets": {"toy": dataset}, "runs": {}, "ensembles": {}})


def prepare(toy: Toy, folder: Path, **shards: Any) -> Params:
    """The same, and the stages have run."""
    from stages import raw, splits, vocab
    from stages import shards as shard_stage

    params = write(toy, folder, **shards)
    with contextlib.chdir(folder):
        for stage in (raw, splits, vocab, shard_stage):
            stage.main(params, "toy")
    return params


def check(folder: Path, params: Params) -> Examined:
    """Examine `toy` in the folder's project."""
    with contextlib.chdir(folder):
        return examine("toy", params.dataset("toy"), lambda what, done, total: None)


def check_with(folder: Path, plant: Callable[[Toy], object]) -> Examined:
    """Examine the clean data set after `plant` has changed it."""
    toy = clean()
    plant(toy)
    return check(folder, prepare(toy, folder))


def only(examined: Examined) -> Problem:
    """The one problem that there is."""
    assert len(examined.problems) == 1, examined.problems
    return examined.problems[0]
