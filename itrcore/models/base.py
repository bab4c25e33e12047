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


@dataclass(frozen=True)
class Encoded:
    """One side, encoded: (n, d) one vector per item, or (n, k, d) a zero-padded set per item with `lengths` (n,)."""

    vectors: Tensor
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice) -> Encoded:
        """A block of items."""
        return Encoded(self.vectors[rows], None if self.lengths is None else self.lengths[rows])

    def take(self, rows: np.ndarray) -> Encoded:
        """The given items, in that order. rows: (m,) item numbers"""
        wanted = torch.from_numpy(rows)
        lengths = None if self.lengths is None else self.lengths[wanted.to(self.lengths.device)]
        return Encoded(self.vectors[wanted.to(self.vectors.device)], lengths)

    @classmethod
    def join(cls, blocks: Sequence[Encoded]) -> Encoded:
        """Blocks one after the other; sets are padded to the longest."""
        if blocks[0].lengths is None:
            return cls(torch.cat([block.vectors for block in blocks]))
        longest = max(block.vectors.shape[1] for block in blocks)
        padded = [nn.functional.pad(b.vectors, (0, 0, 0, longest - b.vectors.shape[1])) for b in blocks]
        return cls(torch.cat(padded), torch.cat([b.lengths for b in blocks if b.lengths is not None]))


@dataclass(frozen=True)
class Progress:
    """Where training stands: epochs and steps done, both from 0."""

    epoch: int
    step: int


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
    """An image–text matching method."""

    views = Views()

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

    def forward(self, batch: Batch, progress: Progress) -> Losses:
        """`loss`, under the name that wrappers for several devices call."""
        return self.loss(batch, progress)


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
