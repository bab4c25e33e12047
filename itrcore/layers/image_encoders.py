"""Encoders of an image's region features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import RegionBatch
from itrcore.layers.basics import row_by_row, xavier
from itrcore.layers.norm import BatchNorm
from itrcore.layers.progress import Progress


class ImageEncoder(nn.Module):
    """From a batch of images to a set of features per image: (n, k, d), zero-padded, and the lengths (n,) on the CPU."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, from 0; see `Method.begin_epoch`."""

    def loss_weight(self, progress: Progress) -> float:
        """What the published training of this encoder multiplies its loss by."""
        return 1.0


class RegionEncoder(ImageEncoder):
    """fc + MLP: `lin(width→d)(x) + lin(d/2→d)(relu(bn(lin(width→d/2)(x))))`, region by region (VSE∞, ESA, ESL).

    Batch normalisation sees valid regions only. The released code lets the zero rows of shortened images take part in
    its statistics, so that an image's encoding in training depends on how far its batch is padded; evaluation is the
    same in both, as no region is dropped there.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.fc = xavier(nn.Linear(width, dim))
        self.hidden = nn.Linear(width, dim // 2)
        self.norm = BatchNorm(dim // 2)
        self.out = nn.Linear(dim // 2, dim)

    def forward(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), where padded regions are 0, and each image's number of regions, (n,)."""
        return row_by_row(self._encode, batch.regions, batch.lengths), batch.lengths

    def _encode(self, rows: Tensor) -> Tensor:
        out: Tensor = self.fc(rows) + self.out(torch.relu(self.norm(self.hidden(rows))))
        return out


class LinearRegionEncoder(ImageEncoder):
    """One linear layer, region by region (SCAN, SGRAF)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.fc = xavier(nn.Linear(width, dim))

    def forward(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), where padded regions are the layer's bias, and each image's number of regions, (n,)."""
        features: Tensor = self.fc(batch.regions)
        return features, batch.lengths
