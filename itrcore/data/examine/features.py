"""Figures of the region features of each split, read from the shards, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from itrcore.data.captions import Image
from itrcore.data.examine.problems import Duplicates, Finding, Problem, Shared, Splits, name_of, unreadable
from itrcore.data.shards.files import read_description
from itrcore.data.shards.regions import KIND, FeatureStore
from itrcore.errors import DataError
from itrcore.progress import Count

BOTTOM_UP = "bottom-up attention"
# Of SCAN's features (36 regions of 2,048 values behind a ReLU), measured on ten images of MS-COCO.
BOTTOM_UP_NORM, BOTTOM_UP_ZEROS = 71.7, 0.34
_NORM_RANGE, _ZEROS_RANGE = (35.0, 140.0), (0.1, 0.6)  # outside, the features are something else
_BLOCK = 64  # images read at once: 19 MB of 36 regions of 2,048 values


@dataclass(frozen=True)
class Features:
    """A split's region features.

    regions: fewest and most of an image; minimum, maximum, mean and zeros (share) are over all values
    norms: (n regions of all images,) L2 norm of each region
    """

    dtype: str
    images: int
    width: int
    regions: tuple[int, int]
    minimum: float
    maximum: float
    mean: float
    zeros: float
    norms: np.ndarray


@dataclass
class _Sums:
    values: int = 0
    zeros: int = 0
    total: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf
    norms: list[np.ndarray] = field(default_factory=list)

    def add(self, values: np.ndarray) -> None:
        """Take in the regions of one image, (n_regions, width)."""
        self.values += values.size
        self.zeros += values.size - int(np.count_nonzero(values))
        self.total += float(values.sum(dtype=np.float64))
        self.minimum = min(self.minimum, float(values.min(initial=np.inf)))
        self.maximum = max(self.maximum, float(values.max(initial=-np.inf)))
        self.norms.append(np.sqrt(np.einsum("rw,rw->r", values, values)))


@dataclass(frozen=True)
class AllFeatures:
    """All splits' features. label: what they are."""

    label: str
    splits: dict[str, Features]
    duplicates: Duplicates
    problems: list[Problem]


def examine(folder: Path, records: Path, splits: Splits, progress: Count) -> AllFeatures:
    """Read every feature once, in blocks, and check the bytes of the shards.

    folder: of the region shards; records: as for `ShardFiles.verify`; progress: called with images done, images in all
    `DataError` where the shards' description is missing or damaged; another damaged file becomes a problem.
    """
    described = read_description(folder, KIND)
    label, dtype = str(described["features"]), str(described["dtype"])
    shared = Shared("identical features", splits)
    figures: dict[str, Features] = {}
    problems: list[Problem] = []
    done, total = 0, sum(map(len, splits.values()))
    for split, images in splits.items():
        try:
            store = FeatureStore(folder, split)
            if store.image_ids != [image.image_id for image in images]:
                path = folder / f"{split}.arrow"
                raise DataError.at(path, "other images than the caption table's", "the same", do="Run: dvc repro")

            def onward(read: int, before: int = done) -> None:
                progress(before + read, total)

            figures[split], of_split = _examine_split(store, records, dtype, split, images, shared, onward)
            problems += of_split
        except DataError as error:
            problems.append(unreadable(error))
        done += len(images)
        progress(done, total)
    if label == BOTTOM_UP:
        problems += [problem for split, features in figures.items() for problem in _unlike_bottom_up(split, features)]
    problems += shared.problems(twice="warning", within="warning", across="error")
    return AllFeatures(label, figures, shared.duplicates(can_repeat=False), problems)


def _examine_split(
    store: FeatureStore,
    records: Path,
    dtype: str,
    split: str,
    images: Sequence[Image],
    shared: Shared,
    progress: Callable[[int], None],
) -> tuple[Features, list[Problem]]:
    """The figures of one split and what is wrong with it. progress: called with the images of the split that are done"""
    problems = []
    try:
        store.verify(records)
    except DataError as error:
        problems.append(unreadable(error))  # what can be read is examined nevertheless
    sums = _Sums()
    broken = Finding("error", f"images of {split} with features that are not finite")
    empty = Finding("warning", f"regions of {split} that are all zeros")
    for first in range(0, len(store), _BLOCK):
        rows = range(first, min(first + _BLOCK, len(store)))
        block, lengths = store.gather(rows)
        for position, padded, length in zip(rows, block, lengths, strict=True):
            values = padded[:length]
            if not np.isfinite(values).all():
                broken.add(name_of(split, images[position]))
                continue
            sums.add(values)
            dead = int((sums.norms[-1] == 0).sum())
            if dead:
                empty.add(f"{name_of(split, images[position])}: {dead} of {length}", dead)
            if dead < length:
                shared.add(hashlib.sha256(values).hexdigest(), split, position)
        progress(rows.stop)
    problems += [*broken.problems(), *empty.problems()]
    n = max(1, sums.values)
    norms = np.concatenate([np.empty(0, np.float32), *sums.norms])
    regions = (int(store.n_regions.min()), int(store.n_regions.max())) if len(store) else (0, 0)
    mean, zeros = sums.total / n, sums.zeros / n
    return Features(dtype, len(store), store.width, regions, sums.minimum, sums.maximum, mean, zeros, norms), problems


def _unlike_bottom_up(split: str, features: Features) -> list[Problem]:
    norm = float(features.norms.mean()) if len(features.norms) else BOTTOM_UP_NORM
    unlike = []
    if features.minimum < 0:
        unlike.append(f"least value {features.minimum:.3g}; theirs are never negative")
    if not _NORM_RANGE[0] <= norm <= _NORM_RANGE[1]:
        unlike.append(f"mean norm {norm:.3g}; theirs is about {BOTTOM_UP_NORM:g}")
    if not _ZEROS_RANGE[0] <= features.zeros <= _ZEROS_RANGE[1]:
        unlike.append(f"{features.zeros:.1%} zeros; theirs have about {BOTTOM_UP_ZEROS:.0%}")
    what = f"ways in which the features of {split}, labelled {BOTTOM_UP}, are unlike it"
    return [Problem("warning", what, len(unlike), tuple(unlike))] if unlike else []
