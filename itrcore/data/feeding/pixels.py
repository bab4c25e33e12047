"""Pictures as batches of pixels: decoded, framed to a square, changed at random in training, normalised.

Nothing is cached. Decoding takes half of the time, and Flickr30K's training pictures would need 4 GB as squares of 224;
JPEG's faster decoding at reduced size gives other pixels, and so other results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from itrcore.data.feeding.batches import PixelBatch
from itrcore.data.feeding.images import Images
from itrcore.data.image_inputs import PixelInput
from itrcore.data.shards.images import ImageStore


class PixelImages(Images):
    """Pictures."""

    store: ImageStore

    @classmethod
    def open(cls, shards: Path, split: str, given: PixelInput) -> PixelImages:
        """Of a split in image shards."""
        return cls(ImageStore(shards, split), given)

    def __init__(self, store: ImageStore, given: PixelInput) -> None:
        self.store, self.given = store, given

    def batch(self, rows: Sequence[int] | np.ndarray) -> PixelBatch:
        """The given pictures as they are. `DataError` names one that cannot be decoded."""
        return self._normalised([frame(self.store.image(int(row)), self.given) for row in rows])

    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> PixelBatch:
        """The given pictures, cropped and mirrored at random where `given` says so."""
        return self._normalised([self._changed(self.store.image(int(row)), rng) for row in rows])

    def _changed(self, picture: Image.Image, rng: np.random.Generator) -> Tensor:
        if self.given.random_crop is not None:
            picture = random_crop(picture, self.given.random_crop, rng)
        square = frame(picture, self.given)
        # After framing, as published: the crop's rounding to whole pixels is not mirrored with it.
        return square.flip(-1) if self.given.flip and rng.random() < 0.5 else square

    def _normalised(self, squares: list[Tensor]) -> PixelBatch:
        pixels = torch.stack(squares)
        if self.given.bgr:
            pixels = pixels.flip(1)
        mean, std = (torch.tensor(of)[:, None, None] for of in (self.given.mean, self.given.std))
        return PixelBatch(pixels.sub_(mean * self.given.scale).div_(std * self.given.scale))


def random_crop(picture: Image.Image, least: float, rng: np.random.Generator) -> Image.Image:
    """A share of both sides, uniform from `least` to 1, at a random place."""
    share = rng.uniform(least, 1.0)
    width, height = (max(1, int(side * share)) for side in picture.size)
    left = int(rng.integers(picture.width - width, endpoint=True))
    top = int(rng.integers(picture.height - height, endpoint=True))
    return picture.crop((left, top, left + width, top + height))


def frame(picture: Image.Image, given: PixelInput) -> Tensor:
    """A picture in RGB → (3, p, p) float32 from 0 to 255, framed as `PixelInput.framing` says.

    `crop` is torchvision's Resize and CenterCrop of a PIL picture, as CLIP and ESL have them; transformers' processor begins
    one pixel earlier where (length − p) / 2 is an odd number and a half. `stretch` is OpenCV's resize of float32 pixels.
    """
    side = given.picture
    if given.framing == "stretch":
        pixels = _tensor(picture)[None]
        return functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)[0]
    short = min(picture.size)
    width, height = (int(side * length / short) for length in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)  # halves to even
    return _tensor(picture.crop((left, top, left + side, top + side)))


def _tensor(picture: Image.Image) -> Tensor:
    """(3, height, width) float32"""
    return torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1)
