"""Region features as batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from itrcore.data.feeding.batches import RegionBatch
from itrcore.data.feeding.images import Images
from itrcore.data.image_inputs import RegionInput
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError


class RegionImages(Images):
    """Region features."""

    store: FeatureStore

    @classmethod
    def open(cls, shards: Path, split: str, given: RegionInput) -> RegionImages:
        """Of a split in region shards."""
        return cls(FeatureStore(shards, split), given)

    def __init__(self, store: FeatureStore, given: RegionInput = RegionInput()) -> None:
        """`DataError` where an image has another number of regions than the method has weights for."""
        self.store, self.drop = store, given.drop
        if given.regions is not None:
            self._check(given.regions)

    def _check(self, regions: int) -> None:
        store = self.store
        others = np.flatnonzero(store.n_regions != regions)
        if len(others):
            first = int(others[0])
            raise DataError.at(
                store.folder,
                f"image {store.image_ids[first]} has {store.n_regions[first]} regions ({len(others):,} of "
                f"{len(store):,} images have another number than the method takes)",
                f"{regions} regions, for which alone it has weights (model.ranked_regions)",
                do="Choose features of as many regions, or train a method without ranked_regions.",
            )

    def batch(self, rows: Sequence[int] | np.ndarray) -> RegionBatch:
        """All regions of the given images."""
        return self._gather(rows, None)

    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> RegionBatch:
        """The given images, each with the regions that `drop` leaves it."""
        keep = keep_regions(self.store.n_regions[rows], self.drop, rng) if self.drop else None
        return self._gather(rows, keep)

    def _gather(self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None) -> RegionBatch:
        regions, lengths = self.store.gather(rows, keep)
        return RegionBatch(torch.from_numpy(regions), torch.from_numpy(lengths.astype(np.int64)))


def keep_regions(lengths: np.ndarray, drop: float, rng: np.random.Generator) -> np.ndarray:
    """Which regions stay when each is taken out with probability `drop`; an image keeps at least one.

    lengths: (n,) regions of each image. Returns (n, max length) bool. Source: VSE∞'s size augmentation.
    """
    n, k = len(lengths), int(lengths.max())
    keep = (rng.random((n, k)) >= drop) & (np.arange(k) < lengths[:, None])
    for row in np.flatnonzero(~keep.any(axis=1)):
        keep[row, rng.integers(int(lengths[row]))] = True
    return keep
