"""Pictures as batches of pixels: decoded, framed to a square, changed at random in training, normalised.

On a CPU nothing is kept: Flickr30K's training pictures would need 4 GB as squares of 224. A GPU keeps the squares of a method that
changes nothing at random. JPEG's faster decoding at reduced size gives other pixels, and so other results.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from copy import copy
from math import floor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from itrcore.announce import announced
from itrcore.cores import all_cores
from itrcore.data.feeding.ahead import ahead
from itrcore.data.feeding.batches import Normalise, PixelBatch
from itrcore.data.feeding.images import Images
from itrcore.data.image_inputs import PixelInput
from itrcore.data.shards.images import ImageStore

_TOGETHER = 64  # pictures that are made at once to be held on a device
_MOST_THREADS = 16  # more would wait for each other: Python's lock


class PixelImages(Images):
    """Pictures."""

    store: ImageStore

    @classmethod
    def open(cls, shards: Path, split: str, given: PixelInput) -> PixelImages:
        """Of a split in image shards."""
        return cls(ImageStore(shards, split), given)

    def __init__(self, store: ImageStore, given: PixelInput) -> None:
        self.store, self.given = store, given
        self.normalise = Normalise.of(given)
        self.device = torch.device("cpu")  # that normalises

    @property
    def n_bytes(self) -> int:
        """Of all squares, if training changes none of them and they are bytes: CLIP's, not those of grid features."""
        fixed = self.given.framing != "stretch" and self.given.random_crop is None and not self.given.flip
        return 3 * self.given.picture**2 * len(self) if fixed else 0

    @property
    def threads(self) -> int:
        """For a GPU, which leaves the CPU little else to do, all cores but one, shared with the machine's other GPUs."""
        if self.device.type == "cpu":
            return super().threads
        return min(_MOST_THREADS, max(2, all_cores() // max(1, torch.cuda.device_count()) - 1))

    def batch(self, rows: Sequence[int] | np.ndarray) -> PixelBatch:
        """The given pictures as they are. `DataError` names one that cannot be decoded."""
        return self._batch(self.squares(rows))

    def squares(self, rows: Sequence[int] | np.ndarray) -> Tensor:
        """The given pictures as they are, framed: (n, 3, p, p), as of `frame`. `DataError` as of `batch`."""
        return torch.stack([frame(self.store.image(int(row)), self.given) for row in rows])

    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> PixelBatch:
        """The given pictures, cropped and mirrored at random where `given` says so."""
        return self._batch(torch.stack([self._changed(self.store.image(int(row)), rng) for row in rows]))

    def feeding(self, device: torch.device, hold: bool) -> PixelImages:
        """For a GPU as bytes where they are: they cross in a quarter of the time. See `HeldPixels` for `hold`."""
        images = copy(self)
        images.normalise, images.device = self.normalise.to(device), device
        return HeldPixels(images) if hold and self.n_bytes else images

    def _changed(self, picture: Image.Image, rng: np.random.Generator) -> Tensor:
        if self.given.random_crop is not None:
            picture = random_crop(picture, self.given.random_crop, rng)
        square = frame(picture, self.given)
        # After framing, as published: the crop's rounding to whole pixels is not mirrored with it.
        return square.flip(-1) if self.given.flip and rng.random() < 0.5 else square

    def _batch(self, squares: Tensor) -> PixelBatch:
        batch = PixelBatch(squares, self.normalise)
        return batch.to(self.device) if self.device.type == "cpu" else batch


class HeldPixels(PixelImages):
    """Pictures whose squares are all on the device, as bytes: each is decoded once, and only row numbers cross."""

    def __init__(self, images: PixelImages) -> None:
        """Decodes all of them. `DataError` names one that cannot be decoded."""
        vars(self).update(vars(images))
        n, side = len(self), self.given.picture
        blocks = [range(first, min(first + _TOGETHER, n)) for first in range(0, n, _TOGETHER)]
        self._squares = torch.empty(n, 3, side, side, dtype=torch.uint8, device=self.device)
        with (
            announced(f"Decoding {n:,} pictures, {self.n_bytes / 1e9:.1f} GB for {self.device}") as count,
            closing(ahead(images.squares, blocks, images.threads)) as made,
        ):
            for block, squares in zip(blocks, made, strict=True):
                self._squares[block.start : block.stop] = squares.to(self.device)
                count(block.stop, n)

    def batch(self, rows: Sequence[int] | np.ndarray) -> PixelBatch:
        """As `PixelImages.batch`, on the device."""
        numbers = torch.from_numpy(np.array(rows))
        if self._squares.is_cuda:
            numbers = numbers.pin_memory()
        squares = self._squares.index_select(0, numbers.to(self.device, non_blocking=True))
        return PixelBatch(squares, self.normalise)

    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> PixelBatch:
        """The same: training changes nothing."""
        return self.batch(rows)

    def feeding(self, device: torch.device, hold: bool) -> HeldPixels:
        """Itself: they are there."""
        return self


def random_crop(picture: Image.Image, least: float, rng: np.random.Generator) -> Image.Image:
    """A share of both sides, uniform from `least` to 1, at a random place."""
    share = rng.uniform(least, 1.0)
    width, height = (max(1, int(side * share)) for side in picture.size)
    left = int(rng.integers(picture.width - width, endpoint=True))
    top = int(rng.integers(picture.height - height, endpoint=True))
    return picture.crop((left, top, left + width, top + height))


def frame(picture: Image.Image, given: PixelInput) -> Tensor:
    """A picture in RGB → (3, p, p) from 0 to 255, framed as `PixelInput.framing` says: float32 if `stretch`, else bytes.

    `crop` is torchvision's Resize and CenterCrop of a PIL picture, as CLIP and ESL have them; transformers' processors, `short`
    and `square`, begin one pixel earlier where (length − p) / 2 is an odd number and a half. `stretch` is OpenCV's resize of
    float32 pixels.
    """
    side = given.picture
    if given.framing == "stretch":
        pixels = _tensor(picture, np.float32)[None]
        return functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)[0]
    short, resized = min(picture.size), given.resized or side
    if given.framing == "square":
        width, height = resized, resized
    else:
        width, height = (int(resized * length / short) for length in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling[given.resample.upper()])
    whole = round if given.framing == "crop" else floor  # halves to even, or down
    left, top = whole((width - side) / 2), whole((height - side) / 2)
    return _tensor(picture.crop((left, top, left + side, top + side)), np.uint8)


def _tensor(picture: Image.Image, kind: type[np.generic]) -> Tensor:
    """(3, height, width)"""
    return torch.from_numpy(np.array(picture, kind)).permute(2, 0, 1)
