"""ESL's levels: a feature vector together with ever coarser selections of its dimensions (TCSVT 2023)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from itrcore.layers.basics import l2

KEPT = 2  # how many entries of a learned mask's row count
CHANNELS = 4  # of a heuristic kernel; their outputs are added up


def widths(dim: int, levels: int, kernel: int) -> list[int]:
    """Dimensions of each block: the input's, then each level's above it, `kernel` times fewer than the one below."""
    return [dim // kernel**level for level in range(levels + 1)]


def level_weights(s: Tensor, threshold_share: Tensor, sharpness: Tensor | float) -> Tensor:
    """The weight ω of each level, (levels + 1,); those whose |s| is above a threshold count more. Source: ESL's released code.

    s: (1, levels + 1), learned; threshold_share: where the threshold lies from the smallest |s|, 0, to the largest, 1
    sharpness: 0 leaves s as it is; the last two hold one value each
    """
    size = s.flatten().abs()
    low, high = size.min(), size.max()
    threshold = (high - low) * threshold_share.flatten() + low
    if isinstance(sharpness, Tensor):
        sharpness = sharpness.flatten()
    weights: Tensor = torch.exp((size - threshold) * sharpness) * s.flatten()
    return weights


class Levels(nn.Module):
    """The input and `levels` levels above it, each l2-normalised, side by side.

    strategy: heuristic: a dimension is a weighted sum of `kernel` neighbouring ones below, with one learned kernel per level.
        adaptive: it is a weighted sum of two below, and which two is learned
    from_normalised: whether a level is computed from the level below after its normalisation (the released codes' images)
        or before it (their texts)
    """

    def __init__(
        self, strategy: Literal["heuristic", "adaptive"], dim: int, levels: int, kernel: int, from_normalised: bool
    ) -> None:
        super().__init__()
        self.from_normalised = from_normalised
        sizes = widths(dim, levels, kernel)
        self.kernels, self.masks = nn.ParameterList(), nn.ParameterList()  # of one strategy each
        for below, width in pairwise(sizes):
            if strategy == "heuristic":
                bound = kernel**-0.5  # as torch starts a Conv1d
                self.kernels.append(torch.empty(CHANNELS, 1, kernel).uniform_(-bound, bound))
            else:
                self.masks.append(torch.randn(width, below))

    def forward(self, x: Tensor) -> Tensor:
        """(…, dim), normalised → (…, sum of `widths`)."""
        blocks, below = [x], x
        coarser = neighbours if len(self.kernels) else chosen
        for weights in (*self.kernels, *self.masks):
            level = coarser(below, weights)
            blocks.append(l2(level))
            below = blocks[-1] if self.from_normalised else level
        return torch.cat(blocks, dim=-1)


def neighbours(below: Tensor, kernel: Tensor) -> Tensor:
    """A convolution whose stride is its width, summed over its channels. below: (…, n); kernel: (c, 1, κ) → (…, n // κ)."""
    size = kernel.shape[-1]
    pieces = below[..., : below.shape[-1] // size * size].reshape(*below.shape[:-1], -1, size)
    # It is linear: the channels' outputs add up to what the sum of their kernels gives.
    return pieces @ kernel.sum((0, 1))


def chosen(below: Tensor, masks: Tensor) -> Tensor:
    """Each dimension a weighted sum of two of those below. below: (…, n); masks: (m, n), learned → (…, m)."""
    return below @ selected(masks).T


def selected(masks: Tensor) -> Tensor:
    """Rows scaled to unit length, all but each row's two largest entries 0 (entries that tie with the second stay too).

    masks: (n, m) → (n, m). Gradients reach the kept entries, and through the rows' lengths the others.
    """
    rows = l2(masks)
    least = rows.topk(min(KEPT, rows.shape[-1]), dim=-1).values[..., -1:]
    return rows.where(rows >= least, 0.0)
