"""What all kinds of layers use: unit length, masks of padded sets, initial weights as published."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def l2(x: Tensor, out: Tensor | None = None) -> Tensor:
    """(…, d) scaled to unit length along the last axis. As released, 1e-8 is added to the norm, outside the square root.

    out: where to write the result, if no gradient is needed
    """
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.div(x, norm + 1e-8, out=out)


def length_mask(lengths: Tensor, longest: int, device: torch.device) -> Tensor:
    """(n, longest), True at the valid positions of each item: its first ones. lengths: (n,), how many"""
    return torch.arange(longest, device=device) < lengths.to(device)[:, None]


def xavier(layer: nn.Linear) -> nn.Linear:
    """The layer, its weights drawn anew: uniform in ±sqrt(6 / (in + out)), bias 0."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def row_by_row(function: Callable[[Tensor], Tensor], sets: Tensor, mask: Tensor | None) -> Tensor:
    """Apply a function to the valid rows of all sets; padded rows take no part and come out as 0.

    function: (rows, width) → (rows, d); sets: (n, k, width); mask: (n, k), None: all are valid → (n, k, d)
    """
    if mask is None:
        return function(sets.flatten(0, 1)).reshape(*sets.shape[:2], -1)
    valid = function(sets[mask])
    return valid.new_zeros(*mask.shape, valid.shape[-1]).masked_scatter(mask[..., None], valid)
