"""Symmetric cross-entropy over the pairs of a batch, the loss of CLIP and of ESL with CLIP."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.layers.losses.scale import ScaledLoss
from itrcore.layers.progress import Progress


class Symmetric(ScaledLoss):
    """Symmetric cross-entropy of the similarities times a learned scale."""

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n, n), matching pairs on the diagonal."""
        return {"cross_entropy": symmetric_cross_entropy(scores, self.scale())}


def symmetric_cross_entropy(scores: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of finding the match in each row and in each column, the mean of both directions. Source: CLIP, figure 3.

    scores: (n, n), positives on the diagonal; scale: what they are multiplied by, the inverse of a temperature
    """
    logits, right = scores * scale, torch.arange(len(scores), device=scores.device)
    rows = torch.nn.functional.cross_entropy(logits, right)
    return (rows + torch.nn.functional.cross_entropy(logits.T, right)) / 2
