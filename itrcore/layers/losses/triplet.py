"""Triplet losses: the hinge loss of VSE++ and ESA's self-expanding one."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.layers.losses.contract import Loss, Similarities
from itrcore.layers.losses.queries import QueryLoss
from itrcore.layers.progress import Progress
from itrcore.settings.losses import HingeSettings, SelfExpandingSettings, TripletSettings


class Hinge(QueryLoss):
    """Hinge triplet loss: all negatives in the warm-up epochs, then the hardest of each row and column."""

    summed = True

    def __init__(self, settings: HingeSettings, similarities: Similarities) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n, n), matching pairs on the diagonal."""
        hardest = progress.epoch >= self.settings.warmup_epochs
        return {"hinge": hinge_triplet(scores, self.settings.margin, hardest)}

    def each(self, match: Tensor, scores: Tensor, negative: Tensor, progress: Progress) -> Tensor:
        """`[m + s − p]₊`, of all negatives s together, then of the hardest one."""
        costs = (self.settings.margin + scores - match[:, None]).clamp(min=0).masked_fill(~negative, 0)
        return costs.amax(dim=1) if progress.epoch >= self.settings.warmup_epochs else costs.sum(dim=1)

    def constant(self, n: int, progress: Progress) -> float:
        """A margin for each negative that counts."""
        return _margins(self.settings, n, 1, progress)


class SelfExpanding(Loss):
    """Self-expanding triplet loss over the views: all negatives in the warm-up epochs, then the hardest."""

    summed = True

    def __init__(self, settings: SelfExpandingSettings, similarities: Similarities) -> None:
        super().__init__()
        self.settings, self.views = settings, similarities.views

    def forward(self, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        """scores: (n · views, n · views), the views of an item adjacent on both sides."""
        hardest = progress.epoch >= self.settings.warmup_epochs
        return {"self_expanding": self_expanding_triplet(scores, self.views, self.settings.margin, hardest)}

    def constant(self, n: int, progress: Progress) -> float:
        """A margin for each negative that counts."""
        return _margins(self.settings, n, self.views, progress)


def _margins(settings: TripletSettings, n: int, views: int, progress: Progress) -> float:
    """The margin, times the negatives that count of all rows and all columns of n items with this many views each."""
    others = (n - 1) * views
    counting = min(others, 1) if progress.epoch >= settings.warmup_epochs else others
    return 2 * n * views * counting * settings.margin


def hinge_triplet(scores: Tensor, margin: float, hardest: bool) -> Tensor:
    """Hinge triplet loss, both directions, summed over the batch. Source: VSE++, equations 4–6.

    scores: (n, n), matching pairs on the diagonal; hardest: only the hardest negative of each row and column counts, else all
    """
    return self_expanding_triplet(scores, 1, margin, hardest)


def self_expanding_triplet(scores: Tensor, views: int, margin: float, hardest: bool) -> Tensor:
    """ESA's self-expanding triplet loss: the worst pair of an item's views against every other item. Source: ESA, III-C.

    scores: (n · views, n · views), the views of an item adjacent on both sides; hardest: as for `hinge_triplet`
    The positive of a row, or of a column, is its smallest score with a view of the same item. Views of one item are never
    negatives of each other. The loss is the sum over rows and columns. `ValueError` for another shape.
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
