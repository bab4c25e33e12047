"""The sigmoid loss of SigLIP (ICCV 2023): each pair of a batch is classified on its own, as matching or not."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from itrcore.errors import ConfigError
from itrcore.layers.losses.contract import Similarities
from itrcore.layers.losses.scale import ScaledLoss
from itrcore.layers.progress import Progress
from itrcore.settings.losses import SigmoidSettings


class Sigmoid(ScaledLoss):
    """Sigmoid loss of the similarities times a learned scale, plus a learned bias."""

    def __init__(self, settings: SigmoidSettings, similarities: Similarities) -> None:
        """`ValueError` as for `ScaledLoss`. `ConfigError` where settings and method both have a bias, or neither."""
        super().__init__(settings, similarities)
        # In a tuple, as the scale is.
        self._bias_of_method = () if similarities.bias is None else (similarities.bias,)
        if settings.initial_bias is None and not self._bias_of_method:
            raise ConfigError("loss.initial_bias is missing: these weights come without one; SigLIP starts from -10")
        if settings.initial_bias is not None:
            if self._bias_of_method:
                raise ConfigError("remove loss.initial_bias: the bias comes with these weights")
            self.bias = nn.Parameter(torch.tensor(settings.initial_bias))

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n, n), matching pairs on the diagonal."""
        bias = self._bias_of_method[0] if self._bias_of_method else self.bias
        return {"sigmoid": pairwise_sigmoid(scores, self.scale(), bias)}

    def constant(self, n: int, progress: Progress) -> float:
        """The lowest: at the similarity, or the bias, that gives each pair the probability 1/n, which is the share of matches."""
        return math.log(n) + (n - 1) * math.log(n / (n - 1)) if n > 1 else 0.0


def pairwise_sigmoid(scores: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """`-1/n Σ_ij log σ(z_ij (scale · s_ij + bias))`, z 1 on the diagonal and −1 elsewhere. Source: SigLIP, algorithm 1.

    scores: (n, n), matching pairs on the diagonal; scale, bias: scalars
    """
    n = len(scores)
    signs = 2 * torch.eye(n, dtype=scores.dtype, device=scores.device) - 1
    return -functional.logsigmoid(signs * (scores * scale + bias)).sum() / n
