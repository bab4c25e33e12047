"""Grid features in place of regions: a ResNet's cells, embedded one by one (VSE∞, ESA, ESL)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import PixelBatch
from itrcore.layers.basics import send, unpack, xavier
from itrcore.layers.image_encoders import ImageEncoder
from itrcore.layers.progress import Progress
from itrcore.pretrained.backbone import Backbone


class GridEncoder(ImageEncoder):
    """Backbone → in training, cells are dropped → fc (channels→d).

    Per image u ~ U(0, 1): where u > drop, each cell is dropped with probability drop · u; an image keeps at least one.
    """

    def __init__(self, backbone: Backbone, dim: int, drop: float) -> None:
        super().__init__()
        self.backbone, self.drop = backbone, drop
        self.fc = xavier(nn.Linear(backbone.channels, dim))

    def forward(self, batch: PixelBatch) -> tuple[Tensor, Tensor]:
        """(n, 3, h, w) → (n, k, d), zero-padded, and each image's number of cells, (n,) on the CPU."""
        cells = self.backbone(batch.pixels)
        n, k, _ = cells.shape
        if not self.training or not self.drop:
            return self.fc(cells), torch.full((n,), k)
        # Drawn on the CPU, so that the lengths are known there without waiting for the device.
        kept = self._kept(n, k)
        lengths = kept.sum(1)
        rows = send(kept.flatten().nonzero().squeeze(1), cells.device)
        features = self.fc(cells.flatten(0, 1).index_select(0, rows))
        return unpack(features, lengths, int(lengths.max())), lengths

    def begin_epoch(self, epoch: int) -> None:
        """Open the stages of the backbone that train in this epoch."""
        self.backbone.open_for(epoch)

    def loss_weight(self, progress: Progress) -> float:
        """Rises from 0 to 1 in the first epoch after the warm-up, in which the backbone begins to train."""
        return progress.share if progress.epoch == self.backbone.warmup_epochs else 1.0

    def _kept(self, n: int, k: int) -> Tensor:
        u = torch.rand(n, 1)
        kept = torch.rand(n, k) >= torch.where(u > self.drop, self.drop * u, 0.0)
        kept[~kept.any(1), torch.randint(k, ())] = True
        return kept
