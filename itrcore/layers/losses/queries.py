"""Losses that each query has on its own, from its match and any number of others: within a batch, or against a queue."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from itrcore.layers.losses.contract import Loss
from itrcore.layers.progress import Progress


class QueryLoss(Loss):
    """A loss of queries, images or captions, whose others need not be of the same batch."""

    @abstractmethod
    def each(self, match: Tensor, scores: Tensor, negative: Tensor, progress: Progress) -> Tensor:
        """The loss of n queries, (n,).

        match: (n,), the score of each with its match; scores: (n, k), with others; negative: (n, k) bool, which of these count
        """

    def both_ways(self, scores: Tensor, negative: Tensor, progress: Progress) -> Tensor:
        """The loss of the rows and of the columns of a batch, a scalar.

        scores: (n, n), matching pairs on the diagonal; negative: (n, n) bool, symmetric
        """
        match = scores.diagonal()
        return self.reduced(
            self.each(match, scores, negative, progress), self.each(match, scores.T, negative, progress)
        )

    def reduced(self, *queries: Tensor) -> Tensor:
        """The sum over all queries, or the mean where losses of this kind are means. queries: (n,) of each direction"""
        losses = torch.cat(queries)
        return losses.sum() if self.summed else losses.mean()


def info_nce(match: Tensor, scores: Tensor, negative: Tensor, scale: Tensor | float) -> Tensor:
    """Cross-entropy of finding each query's match among itself and the negatives, (n,). Source: CPC (2018), equation 4.

    match: (n,); scores, negative: (n, k), negative is bool; scale: what scores are multiplied by, the inverse of a temperature
    """
    match = match * scale
    # Scaled first: the scale's gradient would be that of an infinity.
    logits = torch.cat([match[:, None], (scores * scale).masked_fill(~negative, -torch.inf)], dim=1)
    return logits.logsumexp(dim=1) - match
