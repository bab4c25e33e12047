"""The diversity-sensitive loss: the weight of a negative depends on its score and on how the other negatives lie."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from itrcore.layers.basics import widened
from itrcore.layers.losses.contract import Similarities
from itrcore.layers.losses.queries import QueryLoss, info_nce
from itrcore.layers.progress import Progress
from itrcore.settings.losses import DiversitySettings


class Diversity(QueryLoss):
    """InfoNCE in the warm-up epochs, then the diversity-sensitive loss; the mean over the queries of both directions."""

    summed = False

    def __init__(self, settings: DiversitySettings, similarities: Similarities) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n, n), matching pairs on the diagonal."""
        others = ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        return {"diversity": self.both_ways(scores, others, progress)}

    def constant(self, n: int, progress: Progress) -> float | None:
        """In the warm-up as for InfoNCE; then none, as it goes below 0 the better a match scores."""
        return math.log(n) if progress.epoch < self.settings.warmup_epochs else None

    def each(self, match: Tensor, scores: Tensor, negative: Tensor, progress: Progress) -> Tensor:
        """As `diversity_sensitive`; in the warm-up as `info_nce`."""
        if progress.epoch < self.settings.warmup_epochs:
            return info_nce(widened(match), widened(scores), negative, self.settings.warmup_scale)
        return diversity_sensitive(match, scores, negative, self.settings.scale, self.settings.threshold)


def diversity_sensitive(match: Tensor, scores: Tensor, negative: Tensor, scale: float, threshold: float) -> Tensor:
    """`1/μ log(1 + Σ exp(μ(s − γ))) − log(1 + relu(p))`, the sum over a query's negatives s; p is the score of its match.

    match: (n,); scores, negative: (n, k), negative is bool; scale, threshold: μ, γ → (n,) float32 or wider
    Source: HAL (AAAI 2020) and USER (TIP 2024), whose form CODER's abstract describes.
    """
    exponents = (scale * (widened(scores) - threshold)).masked_fill(~negative, -torch.inf)
    one = exponents.new_zeros(len(exponents), 1)  # e⁰; with it no row is without a finite entry
    away = torch.cat([one, exponents], dim=1).logsumexp(dim=1) / scale
    return away - torch.relu(widened(match)).log1p()
