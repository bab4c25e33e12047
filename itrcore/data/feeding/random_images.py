"""Images of random content in place of a data set's, any number of them from a small pool: to measure times without data."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itrcore.data.feeding.images import Images
from itrcore.data.feeding.pixels import PixelImages
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore

_POOL = 16  # different images
_NOWHERE = Path("random images")


def random_images(
    given: RegionInput | PixelInput,
    number: int,
    regions: tuple[int, int],
    size: tuple[int, int],
    different: int = _POOL,
) -> Images:
    """As many images as a method reads them. regions: of each image, and their width; size: of a picture: width, height

    different: how many of them differ, if they are regions
    """
    if isinstance(given, PixelInput):
        return PixelImages(_Pictures(number, size), given)
    return RegionImages(_Regions(number, *regions, different), given)


class _Regions(FeatureStore):
    """In float16, as shards have them."""

    def __init__(self, number: int, regions: int, width: int, different: int) -> None:
        self.folder, self.image_ids, self.width = _NOWHERE, list(range(number)), width
        self.n_regions, self.dtype = np.full(number, regions), np.dtype(np.float16)
        drawn = np.random.default_rng(0).standard_normal((different, regions, width), np.float32).clip(min=0)
        self._pool = torch.from_numpy(drawn).half()

    def gather(
        self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None = None, stored: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        places = torch.from_numpy(np.asarray(rows) % len(self._pool))
        kind = torch.float16 if stored else torch.float32
        if keep is None:
            return self._pool[places].to(kind).numpy(), self.n_regions[rows]
        lengths = keep.sum(axis=1)
        out = torch.zeros(len(places), int(lengths.max()), self.width, dtype=kind)
        for image, place, kept in zip(out, places.tolist(), torch.from_numpy(keep), strict=True):
            image[: int(kept.sum())] = self._pool[place][kept]
        return out.numpy(), lengths


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
