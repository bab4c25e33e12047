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
