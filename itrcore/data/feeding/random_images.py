"""Images of random content in place of a data set's, any number of them from a small pool: to measure times without data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from itrcore.data.feeding.images import Images
from itrcore.data.feeding.pixels import PixelImages
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore

_POOL = 16
_NOWHERE = Path("random images")


def random_images(
    given: RegionInput | PixelInput, number: int, regions: tuple[int, int], size: tuple[int, int]
) -> Images:
    """As many images as a method reads them. regions: of each image, and their width; size: of a picture: width, height"""
    if isinstance(given, PixelInput):
        return PixelImages(_Pictures(number, size), given)
    return RegionImages(_Regions(number, *regions), given)


class _Regions(FeatureStore):
    def __init__(self, number: int, regions: int, width: int) -> None:
        self.folder, self.image_ids, self.width = _NOWHERE, list(range(number)), width
        self.n_regions = np.full(number, regions)
        self._pool = np.random.default_rng(0).standard_normal((_POOL, regions, width), np.float32).clip(min=0)

    def gather(self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        features = self._pool[np.asarray(rows) % _POOL]
        if keep is None:
            return features, self.n_regions[rows]
        lengths = keep.sum(axis=1)
        out = np.zeros((len(features), int(lengths.max()), self.width), np.float32)
        for image, values, kept in zip(out, features, keep, strict=True):
            image[: kept.sum()] = values[kept]
        return out, lengths


class _Pictures(ImageStore):
    """Packed as JPEG, as they are in shards: unpacking them takes part of the time of a step."""

    def __init__(self, number: int, size: tuple[int, int]) -> None:
        self.folder, self.image_ids, self._pool = _NOWHERE, list(range(number)), list[bytes]()
        rng = np.random.default_rng(0)
        for _ in range(_POOL):
            small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))  # smooth patches: noise would not pack
            packed = io.BytesIO()
            small.resize(size, Image.Resampling.BICUBIC).save(packed, "JPEG", quality=90)
            self._pool.append(packed.getvalue())

    def image(self, row: int) -> Image.Image:
        return Image.open(io.BytesIO(self._pool[row % _POOL])).convert("RGB")
