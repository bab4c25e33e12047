"""LHSC's image encoder: layers of relations between an image's regions (ICMR 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.data.feeding.batches import RegionBatch
from itrcore.layers.basics import length_mask, row_by_row, send, xavier
from itrcore.layers.image_encoders import ImageEncoder
from itrcore.layers.norm import BatchNorm


class GraphLayer(nn.Module):
    """`v_i ← v_i + BN(out(Σ_j R_ij value(v_j)))`, `R_ij = query(θ v_i) · key(φ v_j) / N`, over all N regions of an image.

    θ and φ are `heads` linear layers side by side. There is no softmax. Batch normalisation's weight and bias start at
    0, so that a layer starts as the identity; the linear layers start as torch draws them, like the released code's.
    Padded regions take no part in R or in the batch's statistics. Source: the released code's IM_GCN, whose images all
    have 36 regions.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.theta = nn.ModuleList(nn.Linear(dim, dim // heads) for _ in range(heads))
        self.phi = nn.ModuleList(nn.Linear(dim, dim // heads) for _ in range(heads))
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.norm = BatchNorm(dim)
        nn.init.zeros_(self.norm.weight)

    def forward(self, regions: Tensor, lengths: Tensor) -> Tensor:
        """(n, k, d), zero-padded → the same. lengths: (n,) on the CPU, regions of each image"""
        value = self.value(regions)
        mask = length_mask(lengths, regions.shape[1], regions.device)
        value = value.masked_fill(~mask[..., None], 0.0)
        count = send(lengths, regions.device)[:, None, None]
        query = self.query(torch.cat([head(regions) for head in self.theta], dim=-1))
        key = self.key(torch.cat([head(regions) for head in self.phi], dim=-1))
        related = (query @ key.mT / count) @ value
        return regions + row_by_row(lambda rows: self.norm(self.out(rows)), related, lengths)


class GraphRegionEncoder(ImageEncoder):
    """A linear layer, region by region, then graph layers with weights of their own."""

    def __init__(self, width: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.fc = xavier(nn.Linear(width, dim))
        self.graph = nn.ModuleList(GraphLayer(dim, heads) for _ in range(layers))

    def forward(self, batch: RegionBatch) -> tuple[Tensor, Tensor]:
        """(n, k, width) → (n, k, d), where padded regions are 0, and each image's number of regions, (n,)."""
        regions = row_by_row(self.fc, batch.regions, batch.lengths)
        for layer in self.graph:
            regions = layer(regions, batch.lengths)
        return regions, batch.lengths
