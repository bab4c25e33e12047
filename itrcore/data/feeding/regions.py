"""Region features as batches."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch

from itrcore.data.feeding.batches import RegionBatch
from itrcore.data.feeding.images import Images
from itrcore.data.image_inputs import RegionInput
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError

_TOGETHER = 1024  # images that are read at once to be held on a device


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
        self.stored = False  # whether batches are in the type that the features are stored in
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

    @property
    def n_bytes(self) -> int:
        """Of all features, as they are stored."""
        return self.store.n_bytes

    def batch(self, rows: Sequence[int] | np.ndarray) -> RegionBatch:
        """All regions of the given images."""
        return self.gather(rows, None)

    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> RegionBatch:
        """The given images, each with the regions that `drop` leaves it."""
        keep = keep_regions(self.store.n_regions[rows], self.drop, rng) if self.drop else None
        return self.gather(rows, keep)

    def feeding(self, device: torch.device, hold: bool) -> RegionImages:
        """For a GPU in the type that they are stored in: float16 crosses in half of the time. See `HeldRegions` for `hold`."""
        if hold:
            return HeldRegions(self, device)
        images = copy(self)
        images.stored = device.type != "cpu"
        return images

    def gather(self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None) -> RegionBatch:
        """Of each image the regions that `keep` leaves. keep: (n, max number of regions) bool; None: all"""
        regions, lengths = self.store.gather(rows, keep, self.stored)
        return RegionBatch(torch.from_numpy(regions), torch.from_numpy(lengths.astype(np.int64)))


class HeldRegions(RegionImages):
    """Region features that are all on the device, as they are stored: only the numbers of their rows cross to it."""

    def __init__(self, images: RegionImages, device: torch.device) -> None:
        """Reads all of them. `DataError` as for reading any."""
        self.store, self.drop = images.store, images.drop
        counts = torch.from_numpy(self.store.n_regions.astype(np.int64))
        self._starts, self._counts = counts.cumsum(0) - counts, counts
        kind = torch.from_numpy(np.empty(0, self.store.dtype)).dtype
        # The last row is of zeros: what pads an image.
        self._values = torch.zeros(int(counts.sum()) + 1, self.store.width, dtype=kind, device=device)
        for first in range(0, len(counts), _TOGETHER):
            rows = range(first, min(first + _TOGETHER, len(counts)))
            part, lengths = self.store.gather(rows, stored=True)
            own = torch.arange(part.shape[1]) < torch.from_numpy(lengths)[:, None]
            start = int(self._starts[first])
            self._values[start : start + int(lengths.sum())] = torch.from_numpy(part)[own].to(device)

    def gather(self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None) -> RegionBatch:
        """As `RegionImages.gather`, on the device."""
        wanted = torch.from_numpy(np.ascontiguousarray(rows))
        numbers = torch.arange(int(self._counts[wanted].max()))
        kept = numbers < self._counts[wanted][:, None] if keep is None else torch.from_numpy(keep)
        lengths = kept.sum(1)
        # The regions that are kept, in their order, then the row of zeros.
        order = kept.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(lengths.max())]
        places = (self._starts[wanted][:, None] + order).where(
            numbers[: order.shape[1]] < lengths[:, None], len(self._values) - 1
        )
        if self._values.is_cuda:
            places = places.pin_memory()
        places = places.to(self._values.device, non_blocking=True)
        return RegionBatch(self._values.index_select(0, places.flatten()).view(*places.shape, -1), lengths)


def keep_regions(lengths: np.ndarray, drop: float, rng: np.random.Generator) -> np.ndarray:
    """Which regions stay when each is taken out with probability `drop`; an image keeps at least one.

    lengths: (n,) regions of each image. Returns (n, max length) bool. Source: VSE∞'s size augmentation.
    """
    n, k = len(lengths), int(lengths.max())
    keep = (rng.random((n, k)) >= drop) & (np.arange(k) < lengths[:, None])
    for row in np.flatnonzero(~keep.any(axis=1)):
        keep[row, rng.integers(int(lengths[row]))] = True
    return keep
