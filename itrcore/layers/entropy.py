"""How many of several things shares are spread over: e to their entropy."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_numbers(shares: Tensor) -> tuple[float, float]:
    """Over how many columns all rows together are spread, and over how many a row alone is.

    shares: (n, k), each row sums to 1 → e to the entropy of the mean row, and e to the mean entropy of the rows: 1 to k each.
    Where all rows are alike, both are the same.
    """
    wide = shares.cpu().double()
    used, each = torch.special.entr(wide.mean(dim=0)).sum(), torch.special.entr(wide).sum(dim=1).mean()
    return float(used.exp()), float(each.exp())
