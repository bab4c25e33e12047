"""What a user brings to `itr data new`: a table of captions, features and pictures, tiny and made in code."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itrcore.own_data.make import NewDataset, make

N, REGIONS, WIDTH = 20, 3, 4
NAMES = [f"{number:03}.jpg" for number in range(N)]


def write_csv(rows: Sequence[Sequence[str]], header: Sequence[str] = ("image", "caption"), name: str = "c.csv") -> Path:
    with open(name, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter="\t" if name.endswith(".tsv") else ",").writerows([header, *rows])
    return Path(name)


def two_each(names: Sequence[str] = NAMES) -> list[tuple[str, str]]:
    return [(name, f"the picture {name}, said {how}") for name in names for how in ("so", 'or "so"')]


def write_array(n: int = N, name: str = "f.npy") -> np.ndarray:
    array = np.random.default_rng(3).normal(size=(n, REGIONS, WIDTH)).astype(np.float32)
    np.save(name, array)
    return array


def write_pictures(names: Sequence[str] = NAMES) -> Path:
    folder = Path("pictures")
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 2 * number, 90)).save(folder / name, quality=95)
    return folder


def new_dataset(captions: Path, **settings: Any) -> NewDataset:
    if "features" in settings:
        settings.setdefault("kind", "synthetic")
    return make("mine", captions, **settings)
