"""The learned scale of contrastive losses: the loss's own, or one that came with the method's pretrained weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from itrcore.layers.losses.contract import Loss, Similarities
from itrcore.settings.losses import ScaledSettings


class ScaledLoss(Loss):
    """A loss on similarities times a scale, which is learned as its logarithm and has an upper limit."""

    summed = False

    def __init__(self, settings: ScaledSettings, similarities: Similarities) -> None:
        """`ValueError` where settings and method both have a scale, or neither."""
        super().__init__()
        if (settings.initial_scale is None) == (similarities.log_scale is None):
            raise ValueError("a scale has one origin: loss.initial_scale, or the method's pretrained weights")
        self.max_log_scale = math.log(settings.max_scale)
        # In a tuple, so that the method's parameter does not become one of this module as well.
        self._of_method = () if similarities.log_scale is None else (similarities.log_scale,)
        if settings.initial_scale is not None:
            self.own_log_scale = nn.Parameter(torch.tensor(math.log(settings.initial_scale)))

    @property
    def log_scale(self) -> nn.Parameter:
        """The scale's logarithm, a scalar."""
        return self._of_method[0] if self._of_method else self.own_log_scale

    def scale(self) -> Tensor:
        """What similarities are multiplied by, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the scale at or below its limit, as in CLIP's training."""
        self.log_scale.clamp_(max=self.max_log_scale)
