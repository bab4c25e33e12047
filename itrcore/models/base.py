"""The contract of a method: encode each side once, score encoded sides, state its losses.

Evaluation, training, ensembles and reports know methods only through this interface; none asks which one it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from itrcore.data.batches import Batch, ImageBatch, TextBatch, Views
from itrcore.data.inputs import PixelInput, RegionInput


@dataclass(frozen=True)
class Encoded:
    """One side, encoded.

    vectors: (n, d), one per item; or, with `lengths` (n,) int64 on the CPU, a set per item, (sum of lengths, d): the
        sets one after the other, without padding, which would be most of a caption list's memory
    """

    vectors: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors if self.lengths is None else self.lengths)

    def __getitem__(self, items: slice) -> Encoded:
        """A block of items."""
        if self.lengths is None:
            return Encoded(self.vectors[items])
        start, stop, step = items.indices(len(self))
        if step != 1:
            raise ValueError("a block of items follow each other")
        first = int(self.lengths[:start].sum())
        lengths = self.lengths[start:stop]
        return Encoded(self.vectors[first : first + int(lengths.sum())], lengths)

    def take(self, items: np.ndarray) -> Encoded:
        """The given items, in that order. items: (m,) numbers"""
        wanted = torch.from_numpy(items)
        if self.lengths is None:
            return Encoded(self.vectors[wanted.to(self.vectors.device)])
        lengths = self.lengths[wanted]
        # Where each set starts here, and how far each of its rows is from that.
        starts = (self.lengths.cumsum(0) - self.lengths)[wanted].repeat_interleave(lengths)
        within = torch.arange(len(starts)) - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        return Encoded(self.vectors[(starts + within).to(self.vectors.device)], lengths)

    def widened(self) -> Encoded:
        """In float32, if it was of a narrower type."""
        return Encoded(self.vectors.to(torch.promote_types(self.vectors.dtype, torch.float32)), self.lengths)

    @classmethod
    def join(cls, blocks: Sequence[Encoded]) -> Encoded:
        """Blocks one after the other."""
        lengths = [block.lengths for block in blocks if block.lengths is not None]
        return cls(torch.cat([block.vectors for block in blocks]), torch.cat(lengths) if lengths else None)

    @classmethod
    def pack(cls, padded: Tensor, lengths: Tensor) -> Encoded:
        """A set per item, from padded ones. padded: (n, k, d); lengths: (n,) on the CPU"""
        valid = torch.arange(padded.shape[1], device=padded.device) < lengths.to(padded.device)[:, None]
        return cls(padded[valid], lengths)


@dataclass(frozen=True)
class Progress:
    """Where training stands: epochs and steps done, both from 0, and the share of this epoch that is done."""

    epoch: int
    step: int
    share: float = 0.0


@dataclass(frozen=True)
class Losses:
    """Named scalar loss terms and their weights (1 where not named)."""

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]

    @property
    def total(self) -> Tensor:
        """The weighted sum: what is minimised."""
        return torch.stack([term * self.weights.get(name, 1.0) for name, term in self.terms.items()]).sum()


class Method(nn.Module, ABC):
    """An image–text matching method.

    input: what it reads of an image; views: how training changes its captions
    captions_together: None: evaluation encodes captions of about one length together, which saves padding. A number: where
        a caption's vectors depend on its batch, so many as they stand in the split
    """

    input: RegionInput | PixelInput = RegionInput()
    views = Views()
    captions_together: int | None = None

    @abstractmethod
    def encode_images(self, batch: ImageBatch) -> Encoded:
        """Encode images for evaluation; item i of the result belongs to image i of the batch."""

    @abstractmethod
    def encode_texts(self, batch: TextBatch) -> Encoded:
        """Encode captions for evaluation."""

    @abstractmethod
    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        """All pairs of two blocks: (n_images, n_texts) float32, higher is more alike."""

    @abstractmethod
    def loss(self, batch: Batch, progress: Progress) -> Losses:
        """The training loss of one batch of matching pairs."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, from 0, also where a training goes on: what a method opens in stages."""

    def after_step(self) -> None:
        """Called after each step of the optimiser: what a method keeps within limits."""

    def forward(self, batch: Batch, progress: Progress) -> Losses:
        """`loss`, under the name that wrappers for several devices call."""
        return self.loss(batch, progress)


class Attends(ABC):
    """A method whose words attend to regions, so that it can be asked which to which."""

    @abstractmethod
    def attention(self, image: Encoded, text: Encoded) -> Tensor:
        """Of one image and one caption, encoded: (words, regions) float32 weights; those of a word sum to 1."""


class EmbeddingMethod(Method):
    """A method whose similarity is the inner product of one vector per item, so that a vector index can serve it."""

    def image_vectors(self, encoded: Encoded) -> Tensor:
        """(n, d) float32 vectors to index."""
        return encoded.vectors.float()

    def text_vectors(self, encoded: Encoded) -> Tensor:
        """(m, d) float32 vectors to search with."""
        return encoded.vectors.float()

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        """Inner products, in float32 also under mixed precision: bf16's three digits would blur margins and ranks."""
        with torch.autocast(images.vectors.device.type, enabled=False):
            return self.image_vectors(images) @ self.text_vectors(texts).T
