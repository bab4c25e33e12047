"""Symmetric cross-entropy over the pairs of a batch, the loss of CLIP and of ESL with CLIP."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from itrcore.layers.losses.queries import QueryLoss, info_nce
from itrcore.layers.losses.scale import ScaledLoss
from itrcore.layers.progress import Progress


class Symmetric(ScaledLoss, QueryLoss):
    """Symmetric cross-entropy of the similarities times a learned scale."""

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n, n), matching pairs on the diagonal."""
        return {"cross_entropy": symmetric_cross_entropy(scores, self.scale())}

    def each(self, match: Tensor, scores: Tensor, negative: Tensor, progress: Progress) -> Tensor:
        """As `info_nce`."""
        return info_nce(match, scores, negative, self.scale())

    def constant(self, n: int, progress: Progress) -> float:
        """Each of n is as likely as the others."""
        return math.log(n)


def symmetric_cross_entropy(scores: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of finding the match in each row and in each column, the mean of both directions. Source: CLIP, figure 3.

    scores: (n, n), matching pairs on the diagonal; scale: a scalar that multiplies them, the inverse of a temperature
    """
    logits, matches = scores * scale, torch.arange(len(scores), device=scores.device)
    return (functional.cross_entropy(logits, matches) + functional.cross_entropy(logits.T, matches)) / 2
