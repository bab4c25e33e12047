"""From a set of features to one vector: mean, generalized pooling (VSE∞), external space attention (ESA)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from itrcore.compiled import compilable
from itrcore.layers.basics import length_mask, recurrent, send
from itrcore.settings.pooling import GPOSettings, MeanSettings

HIDDEN = -10000.0  # the score of positions that must not count in a softmax, as in the released codes


class MeanPooling(nn.Module):
    """The mean over valid positions (VSE++)."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features: (n, k, d), padded; lengths: (n,) → (n, d)"""
        mask = length_mask(lengths, features.shape[1], features.device)[..., None]
        return (features * mask).sum(1) / mask.sum(1)


class GPO(nn.Module):
    """Generalized pooling operator: a learned weight for each rank of the sorted values. Source: VSE∞, section 3.3."""

    def __init__(self, settings: GPOSettings) -> None:
        super().__init__()
        self.code_dim, self.temperature = settings.code_dim, settings.temperature
        self.gru = nn.GRU(settings.code_dim, settings.hidden_dim, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(settings.hidden_dim, 1, bias=False)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The values of each dimension, sorted downwards, times the weights of their ranks.

        features: (n, k, d), padded; lengths: (n,) → (n, d)
        """
        k = features.shape[1]
        mask = length_mask(lengths, k, features.device)[..., None]
        ranked = features.masked_fill(~mask, -math.inf).sort(dim=1, descending=True).values.masked_fill(~mask, 0.0)
        # The weights depend on the length alone: the GRU passes over each length once, not over the batch.
        different, which = torch.unique(lengths, return_inverse=True)
        weights = self._weights(different, k, features.device)[send(which, features.device)]
        return (ranked * weights[..., None]).sum(1)

    def _weights(self, lengths: Tensor, k: int, device: torch.device) -> Tensor:
        """(number of lengths, k) weights that sum to 1 over the valid ranks."""
        codes = self._codes(k, device).to(self.linear.weight.dtype).expand(len(lengths), k, self.code_dim)
        scores = self.linear(recurrent(self.gru, codes, lengths)).squeeze(-1)
        scores = scores.masked_fill(~length_mask(lengths, k, device), HIDDEN)
        return torch.softmax(scores / self.temperature, dim=-1)

    def _codes(self, k: int, device: torch.device) -> Tensor:
        """(k, code_dim) sine and cosine position codes of the ranks, counted from 0, base 10000."""
        ranks = torch.arange(k, device=device, dtype=torch.float32)[:, None]
        steps = torch.arange(0, self.code_dim, 2, device=device, dtype=torch.float32)
        angles = ranks * torch.exp(steps * (-math.log(10000.0) / self.code_dim))
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class ExternalSpaceAttention(nn.Module):
    """ESA's pooling: per dimension, a softmax over the set of one linear layer's output. Source: ESA, section III-B."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Pool each set once per view. A view without any position gives the zero vector, as in the released code.

        features: (n, k, d); mask: (n, v, k), True at the positions that a view may use → (n, v, d)
        """
        scores = self.linear(features)
        # View by view, each with its own maximum: exponentials shared by the views are no faster (the linear layer
        # dominates) and underflow where a view hides the highest score.
        return torch.stack([self._pool(features, scores, shown[..., None]) for shown in mask.unbind(1)], dim=1)

    @staticmethod
    @compilable
    def _pool(features: Tensor, scores: Tensor, shown: Tensor) -> Tensor:
        weights = torch.softmax(scores.masked_fill(~shown, HIDDEN), dim=1).masked_fill(~shown, 0.0)
        return (weights * features).sum(1)


def set_pooling(settings: GPOSettings | MeanSettings) -> GPO | MeanPooling:
    """The pooling that the settings name."""
    return GPO(settings) if isinstance(settings, GPOSettings) else MeanPooling()
