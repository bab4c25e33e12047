"""One vector for a whole image or caption, which SGRAF compares besides regions and words (AAAI 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itrcore.layers.basics import l2, length_mask, pack, unpack, xavier
from itrcore.layers.encoded import Sets
from itrcore.layers.norm import BatchNorm


class WholeVector(nn.Module):
    """One vector of a set: attention over its members, guided by their mean. For words; without batch normalisation."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.local, self.mean = xavier(nn.Linear(dim, dim)), xavier(nn.Linear(dim, dim))
        self.score = xavier(nn.Linear(dim, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features: (n, k, d), padded; lengths: (n,) on the CPU, how many of each count → (n, d) of unit length"""
        mask = length_mask(lengths, features.shape[1], features.device)
        features = features.masked_fill(~mask[..., None], 0.0)
        mean = features.sum(1) / mask.sum(1, keepdim=True)
        local, guide = self.normalised(self.local(features), self.mean(mean), lengths)
        common = self.dropout(local.tanh()) * self.dropout(guide.tanh())[:, None]
        scores = self.score(common).squeeze(-1).masked_fill(~mask, float("-inf"))
        return l2((torch.softmax(scores, dim=1)[..., None] * features).sum(1))

    def normalised(self, local: Tensor, guide: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of both tanhs, of the same shapes. local: (n, k, d); guide: (n, d); lengths: (n,) on the CPU"""
        return local, guide


class WholeImage(WholeVector):
    """The same with batch normalisation, for regions.

    ranked_regions: None: the regions of all images are normalised alike. A number: each region's place has weights of its
        own, as in the released code, so that every image must have exactly so many
    """

    def __init__(self, dim: int, dropout: float, ranked_regions: int | None) -> None:
        super().__init__(dim, dropout)
        self.ranked_regions = ranked_regions
        self.local_norm = BatchNorm(ranked_regions or 1)
        self.mean_norm = BatchNorm(dim)

    def normalised(self, local: Tensor, guide: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Both through batch normalisation, of which padded regions are no part."""
        guide = self.mean_norm(guide)
        if self.ranked_regions is None:
            valid = self.local_norm(pack(local, lengths)[:, None]).squeeze(1)
            return unpack(valid, lengths, local.shape[1]), guide
        assert set(lengths.tolist()) == {self.ranked_regions}, "the method's `input` says how many regions it reads"
        return self.local_norm(local), guide


def with_whole(features: Tensor, lengths: Tensor, pooling: WholeVector) -> Sets:
    """Sets as `AlignmentMeasure` takes them: each one's whole vector, then its members, all of unit length.

    features: (n, k, d), padded, not normalised yet; lengths: (n,) on the CPU → n sets of 1 + length vectors
    """
    members = l2(features)
    whole = pooling(members, lengths)
    return Sets.pack(torch.cat([whole[:, None], members], dim=1), lengths + 1)
