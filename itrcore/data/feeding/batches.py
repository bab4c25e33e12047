"""What a method is given: images and captions as tensors, alone or as pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itrcore.data.image_inputs import PixelInput
from itrcore.data.text.tokens import PAD


@dataclass(frozen=True)
class RegionBatch:
    """regions: (n, k, width), zero-padded; lengths: (n,) int64, regions of each image, on the CPU.

    The regions are float32 for a method (`to`); before, they may be of the type that they are stored in.
    """

    regions: Tensor
    lengths: Tensor

    def part(self, images: slice) -> RegionBatch:
        """Some of the images, one after the other."""
        return RegionBatch(self.regions[images], self.lengths[images])

    def to(self, device: torch.device) -> RegionBatch:
        """In float32 on a device; lengths stay on the CPU, where the encoders want them."""
        regions = self.regions.to(device, non_blocking=True)
        return RegionBatch(regions.to(torch.promote_types(regions.dtype, torch.float32)), self.lengths)

    def pinned(self) -> RegionBatch:
        """In memory from which a GPU takes it while the CPU goes on."""
        return RegionBatch(_pinned(self.regions), self.lengths)


@dataclass(frozen=True)
class Normalise:
    """What a method's `PixelInput` makes of values from 0 to 255. mean, std: (3, 1, 1) float32, on the device of the batches"""

    mean: Tensor
    std: Tensor
    bgr: bool

    @classmethod
    def of(cls, given: PixelInput) -> Normalise:
        """On the CPU."""
        mean, std = (torch.tensor(of)[:, None, None] * given.scale for of in (given.mean, given.std))
        return cls(mean, std, given.bgr)

    def to(self, device: torch.device) -> Normalise:
        """The same on a device."""
        return Normalise(self.mean.to(device), self.std.to(device), self.bgr)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, 3, height, width), bytes or float32, which is overwritten → float32"""
        pixels = pixels.float()
        if self.bgr:
            pixels = pixels.flip(1)
        return pixels.sub_(self.mean).div_(self.std)


@dataclass(frozen=True)
class PixelBatch:
    """pixels: (n, 3, height, width) float32, as the method's `PixelInput` has them.

    They are so for a method (`to`); before, they may be what `normalise` takes, such as bytes, which are a quarter as large.
    """

    pixels: Tensor
    normalise: Normalise | None = None

    def part(self, images: slice) -> PixelBatch:
        """Some of the images, one after the other."""
        return PixelBatch(self.pixels[images], self.normalise)

    def to(self, device: torch.device) -> PixelBatch:
        """Normalised, on a device: that of `normalise` where there is one."""
        pixels = self.pixels.to(device, non_blocking=True)
        return PixelBatch(pixels if self.normalise is None else self.normalise(pixels))

    def pinned(self) -> PixelBatch:
        """As `RegionBatch.pinned`."""
        return PixelBatch(_pinned(self.pixels), self.normalise)


ImageBatch = RegionBatch | PixelBatch


@dataclass(frozen=True)
class TextBatch:
    """ids: (m, l) int64, padded with 0; lengths: (m,) int64, tokens of each caption, on the CPU.

    states: (m, l, d) what a frozen text encoder makes of each token, where that is known beforehand; float32 for a method (`to`)
    """

    ids: Tensor
    lengths: Tensor
    states: Tensor | None = None

    def to(self, device: torch.device) -> TextBatch:
        """The same on a device; lengths stay on the CPU."""
        states = None if self.states is None else self.states.to(device, non_blocking=True).float()
        return TextBatch(self.ids.to(device, non_blocking=True), self.lengths, states)

    def pinned(self) -> TextBatch:
        """As `RegionBatch.pinned`."""
        return TextBatch(_pinned(self.ids), self.lengths, None if self.states is None else _pinned(self.states))

    def part(self, captions: slice) -> TextBatch:
        """Some of the captions, one after the other."""
        states = None if self.states is None else self.states[captions]
        return TextBatch(self.ids[captions], self.lengths[captions], states)

    @classmethod
    def pad(cls, captions: Sequence[np.ndarray]) -> TextBatch:
        """From one array of ids (length,) for each caption."""
        lengths = torch.tensor([len(caption) for caption in captions])
        ids = torch.full((len(captions), int(lengths.max())), PAD, dtype=torch.int64)
        for row, caption in enumerate(captions):
            ids[row, : len(caption)] = torch.from_numpy(caption)
        return cls(ids, lengths)


@dataclass(frozen=True)
class Batch:
    """n pairs: images (n), texts (n · views, the views of a pair adjacent); which pairs they are, for messages."""

    images: ImageBatch
    texts: TextBatch
    image_ids: list[int]
    caption_ids: list[int]

    def tensors(self) -> list[Tensor]:
        """Those that are on the device."""
        images = self.images.regions if isinstance(self.images, RegionBatch) else self.images.pixels
        return [images, self.texts.ids, *([] if self.texts.states is None else [self.texts.states])]

    def share(self, pairs: slice) -> Batch:
        """Some of the pairs, one after the other."""
        views = len(self.texts.lengths) // len(self.image_ids)
        rows = slice(pairs.start * views, pairs.stop * views)
        texts = self.texts.part(rows)
        return Batch(self.images.part(pairs), texts, self.image_ids[pairs], self.caption_ids[pairs])

    def pinned(self) -> Batch:
        """As `RegionBatch.pinned`."""
        return Batch(self.images.pinned(), self.texts.pinned(), self.image_ids, self.caption_ids)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.images.to(device), self.texts.to(device), self.image_ids, self.caption_ids)


def _pinned(values: Tensor) -> Tensor:
    return values if values.is_cuda else values.pin_memory()
