"""Encoded images or captions: one vector each, or a set of vectors each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from itrcore.layers import together
from itrcore.layers.basics import pack, send, widened


class Encoded(ABC):
    """n encoded items of one side, in order. vectors: (rows, d), one or more rows for each item"""

    vectors: Tensor

    @abstractmethod
    def __len__(self) -> int:
        """The number of items."""

    @abstractmethod
    def __getitem__(self, items: slice) -> Self:
        """A block of consecutive items. `ValueError` for sets where the slice has a step."""

    @abstractmethod
    def take(self, items: np.ndarray) -> Self:
        """The given items, in that order. items: (m,) numbers"""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same items, their vectors on a device."""

    @abstractmethod
    def means(self) -> Tensor:
        """One vector for each item, (n, d), on the CPU: the mean of its own."""

    @abstractmethod
    def gathered(self) -> Self:
        """The items of all processes that train together, in their order, with gradients."""

    @classmethod
    @abstractmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """Blocks one after the other."""


@dataclass(frozen=True)
class Vectors(Encoded):
    """vectors: (n, d), one per item."""

    vectors: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, items: slice) -> Vectors:
        return Vectors(self.vectors[items])

    def take(self, items: np.ndarray) -> Vectors:
        """The given items, in that order. items: (m,) numbers"""
        return Vectors(self.vectors[send(torch.from_numpy(items), self.vectors.device)])

    def to(self, device: torch.device) -> Vectors:
        """The same on a device."""
        return Vectors(self.vectors.to(device))

    def means(self) -> Tensor:
        """The vectors themselves, (n, d), on the CPU."""
        return self.vectors.cpu()

    def gathered(self) -> Vectors:
        """Of all processes."""
        return Vectors(together.gather(self.vectors))

    @classmethod
    def join(cls, blocks: Sequence[Vectors]) -> Vectors:
        """Blocks one after the other."""
        return cls(torch.cat([block.vectors for block in blocks]))


@dataclass(frozen=True)
class Sets(Encoded):
    """A set of vectors per item, packed one after the other: padding would take most of the memory of a list of captions.

    vectors: (sum of lengths, d); lengths: (n,) int64, on the CPU
    """

    vectors: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, items: slice) -> Sets:
        start, stop, step = items.indices(len(self))
        if step != 1:
            raise ValueError("a block is of consecutive items: a slice without a step")
        first = int(self.lengths[:start].sum())
        lengths = self.lengths[start:stop]
        return Sets(self.vectors[first : first + int(lengths.sum())], lengths)

    def take(self, items: np.ndarray) -> Sets:
        """The given items, in that order. items: (m,) numbers"""
        wanted = torch.from_numpy(items)
        lengths = self.lengths[wanted]
        # For each row taken: where its set starts here, and its number within the set.
        starts = (self.lengths.cumsum(0) - self.lengths)[wanted].repeat_interleave(lengths)
        within = torch.arange(len(starts)) - (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        return Sets(self.vectors[send(starts + within, self.vectors.device)], lengths)

    def to(self, device: torch.device) -> Sets:
        """The vectors on a device; the lengths stay on the CPU."""
        return Sets(self.vectors.to(device), self.lengths)

    def means(self) -> Tensor:
        """The mean of each set, (n, d), float32 or wider, on the CPU."""
        return torch.segment_reduce(widened(self.vectors).cpu(), "mean", lengths=self.lengths)

    def gathered(self) -> Sets:
        """Of all processes."""
        return Sets(together.gather(self.vectors), torch.cat(together.gather_numbers(self.lengths)))

    def widened(self) -> Sets:
        """The same sets in float32, if the vectors are of a narrower type."""
        return Sets(widened(self.vectors), self.lengths)

    @classmethod
    def join(cls, blocks: Sequence[Sets]) -> Sets:
        """Blocks one after the other."""
        return cls(torch.cat([block.vectors for block in blocks]), torch.cat([block.lengths for block in blocks]))

    @classmethod
    def pack(cls, padded: Tensor, lengths: Tensor) -> Sets:
        """From padded sets. padded: (n, k, d); lengths: (n,) on the CPU"""
        return cls(pack(padded, lengths), lengths)
