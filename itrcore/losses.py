"""Training losses on a similarity matrix whose diagonal (or block diagonal) holds the matching pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def hinge_triplet(scores: Tensor, margin: float, hardest: bool) -> Tensor:
    """Hinge triplet loss, both directions, summed over the batch. Source: VSE++, equations 4–6.

    scores: (n, n), positives on the diagonal; hardest: the hardest negative of each row and column alone, else all
    """
    return self_expanding_triplet(scores, 1, margin, hardest)


def self_expanding_triplet(scores: Tensor, views: int, margin: float, hardest: bool) -> Tensor:
    """ESA's self-expanding triplet loss: the worst pair of an item's views against every other item. Source: ESA, III-C.

    scores: (n·views, n·views), the views of an item adjacent on both sides. A row's positive is the smallest score in its
    own item's block, a column's likewise; views of one item are never negatives of each other. Sum over rows and columns.
    """
    n = scores.shape[0] // views
    if scores.shape != (n * views, n * views):
        raise ValueError(f"scores of shape {tuple(scores.shape)} do not split into items of {views} views")
    items = torch.arange(n, device=scores.device).repeat_interleave(views)
    own = items[:, None] == items[None, :]
    # blocks[i, a, b]: view a of image i against view b of text i
    blocks = scores.view(n, views, n, views).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    row_positive = blocks.amin(dim=2).reshape(-1, 1)
    column_positive = blocks.amin(dim=1).reshape(1, -1)
    rows = (margin + scores - row_positive).clamp(min=0).masked_fill(own, 0)
    columns = (margin + scores - column_positive).clamp(min=0).masked_fill(own, 0)
    if hardest:
        return rows.amax(dim=1).sum() + columns.amax(dim=0).sum()
    return rows.sum() + columns.sum()


def symmetric_cross_entropy(scores: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of finding the match in each row and in each column, the mean of both directions. Source: CLIP, figure 3.

    scores: (n, n), positives on the diagonal; scale: what they are multiplied by, the inverse of a temperature
    """
    logits, right = scores * scale, torch.arange(len(scores), device=scores.device)
    rows = torch.nn.functional.cross_entropy(logits, right)
    return (rows + torch.nn.functional.cross_entropy(logits.T, right)) / 2
