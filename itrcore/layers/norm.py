"""Batch normalisation over the whole batch, also where several processes have a share of it each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.layers import together


class BatchNorm(nn.BatchNorm1d):
    """torch's, and in training over the values of all processes. torch's own such layer needs GPUs."""

    def forward(self, values: Tensor) -> Tensor:
        """(n, channels) or (n, channels, k) → the same shape. n may differ between processes."""
        if not self.training or together.count() == 1:
            return super().forward(values)
        assert self.momentum is not None
        over = [0] if values.dim() == 2 else [0, 2]
        n = values.new_tensor([values.numel() // values.shape[1]])
        sums = together.total(torch.cat([values.sum(over), n]))
        mean, n = sums[:-1] / sums[-1], sums[-1].detach()
        shape = (1, -1, *[1] * (values.dim() - 2))
        centred = values - mean.view(shape)
        variance = together.total(centred.square().sum(over)) / n
        with torch.no_grad():
            self.get_buffer("running_mean").lerp_(mean, self.momentum)
            self.get_buffer("running_var").lerp_(variance * n / (n - 1), self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(shape) + self.bias.view(shape)
