"""The contract of a loss: from the similarities of a batch of matching pairs to named terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from itrcore.layers.progress import Progress


@dataclass(frozen=True)
class Similarities:
    """What a loss must know of a method's similarities.

    views: how many adjacent rows, and columns, belong to one item
    log_scale, bias: the logarithm of a learned scale, and a learned bias, that came with its pretrained weights, if any
    """

    views: int
    log_scale: nn.Parameter | None
    bias: nn.Parameter | None = None


@dataclass(frozen=True)
class Losses:
    """Named scalar loss terms, and what their sum is multiplied by."""

    terms: Mapping[str, Tensor]
    weight: float = 1.0

    @property
    def total(self) -> Tensor:
        """The weighted sum, a scalar: what is minimised."""
        return torch.stack([term * self.weight for term in self.terms.values()]).sum()


class Loss(nn.Module, ABC):
    """A class of this kind is built from (settings, similarities: Similarities).

    Parameters of its own, such as a learned scale, belong to the training: no run's weights hold them.
    summed: whether its terms are sums over the pairs of a batch; else each is their mean already, and is reported as it is
    """

    summed: ClassVar[bool]

    @abstractmethod
    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Named scalar terms.

        scores: (n · views, n · views), the views of an item adjacent on both sides; matching pairs on the diagonal
        """

    def constant(self, n: int, progress: Progress) -> float | None:
        """The sum of its terms for a batch of n pairs whose similarities are all the same: a collapsed model has this loss.

        Above 0. Where it depends on that similarity, the lowest of all. None where that is not known, or not above 0.
        """
        return None

    def after_step(self) -> None:
        """Called after each step of the optimiser, to keep parameters within limits."""
