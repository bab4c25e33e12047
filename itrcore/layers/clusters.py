"""Clusters that follow a training's vectors, and the prediction of whose cluster an item is in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itrcore.layers.basics import l2
from itrcore.settings.losses import ClusterSettings


class Clusters(nn.Module):
    """Centres that move to the means of their members, and a linear prediction of an item's cluster.

    The centres are state. The prediction's weights are learned with the method.
    """

    centres: Tensor

    def __init__(self, settings: ClusterSettings, width: int) -> None:
        """width: of the vectors that are clustered, and of those that predict"""
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):  # the same in every training
            torch.manual_seed(0)
            self.register_buffer("centres", l2(torch.randn(settings.number, width)))
            self.weight = nn.Parameter(torch.randn(settings.number, width))

    @torch.no_grad()
    def labels(self, vectors: Tensor, counts: Tensor) -> Tensor:
        """The share of each vector in each cluster, balanced over all that count. As `balanced`, of the vectors' similarities.

        vectors: (n, width) unit vectors; counts: (n,) bool → (n, clusters)
        """
        return balanced(self._scores(vectors), counts, self.settings.iterations)

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """The share of each vector in each cluster by its own similarities, not balanced: (n, width) → (n, clusters)."""
        return torch.softmax(self._scores(vectors), dim=1)

    @torch.no_grad()
    def move(self, vectors: Tensor, labels: Tensor) -> None:
        """Move each centre towards the mean of its members: of the vectors whose largest share is in it.

        vectors: (n, width); labels: (n, clusters), as `labels` has them
        """
        members = torch.arange(self.settings.number, device=labels.device)[:, None] == labels.argmax(dim=1)
        sums = (members & (labels.sum(dim=1) > 0)).to(vectors.dtype) @ vectors
        moved = l2(self.centres.lerp(l2(sums), self.settings.update))
        self.centres.copy_(torch.where(sums.any(dim=1, keepdim=True), moved, self.centres))

    def loss(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of predicting the labels, (n,). vectors: (n, width) unit vectors; labels: (n, clusters)"""
        logits = vectors @ l2(self.weight).T / self.settings.temperature
        return functional.cross_entropy(logits, labels, reduction="none")

    def _scores(self, vectors: Tensor) -> Tensor:
        return vectors @ self.centres.T / self.settings.sharpness


def balanced(scores: Tensor, counts: Tensor, iterations: int) -> Tensor:
    """Shares that sum to 1 for each item, with about as much in each cluster: Sinkhorn–Knopp on `exp(scores)`.

    scores: (n, clusters); counts: (n,) bool, items that take no part get shares of 0 → (n, clusters)
    In logarithms, so that no score is too large. Source: SwAV (NeurIPS 2020), appendix A.
    """
    left_out = ~counts[:, None]
    logs = scores.masked_fill(left_out, -torch.inf)
    for _ in range(iterations):
        logs = logs - logs.logsumexp(dim=0, keepdim=True)
        logs = logs.log_softmax(dim=1).masked_fill(left_out, -torch.inf)
    return logs.exp()
