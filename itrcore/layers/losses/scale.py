"""The learned scale of contrastive losses: one of the loss's own, or the one that came with the method's pretrained weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from itrcore.layers.losses.contract import Loss, Similarities
from itrcore.settings.losses import ScaledSettings


class ScaledLoss(Loss):
    """A loss on similarities times a scale, which is learned as its logarithm and stays below a limit."""

    def __init__(self, settings: ScaledSettings, similarities: Similarities) -> None:
        """`ValueError` where settings and method both have a scale, or neither."""
        super().__init__()
        if (settings.initial_scale is None) == (similarities.log_scale is None):
            raise ValueError("a scale has one origin: loss.initial_scale, or the method's pretrained weights")
        self.max_log_scale = math.log(settings.max_scale)
        # In a tuple, as what a method brings is a parameter of the method and not of this module too.
        self._brought = () if similarities.log_scale is None else (similarities.log_scale,)
        if settings.initial_scale is not None:
            self.own_log_scale = nn.Parameter(torch.tensor(math.log(settings.initial_scale)))

    @property
    def log_scale(self) -> nn.Parameter:
        """The scale's logarithm, a scalar."""
        return self._brought[0] if self._brought else self.own_log_scale

    def scale(self) -> Tensor:
        """What similarities are multiplied by, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def after_step(self) -> None:
        """The scale stays below its limit, as CLIP was trained."""
        self.log_scale.clamp_(max=self.max_log_scale)
