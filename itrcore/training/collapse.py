"""Whether a training collapses: its vectors lie in few directions, a few items win all queries, its loss stays near that of
a model that tells nothing apart. All of it follows from an evaluation's encoded sides and similarities, whatever the method.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from itrcore.layers.encoded import Encoded
from itrcore.runs.records import AGAINST_COLLAPSE, Collapse, Point

_ITEMS = 512  # of each side whose vectors are looked at: the time grows with the cube

# At most this rank of either side, or at least this share of queries won by one item; at least this share of the loss of a
# constant similarity. It takes the first to count as a collapse, and the second to go on counting as one: figures of a collapsed
# training go up and down.
_BEGINS, _LASTS = (2.0, 75.0, 0.95), (4.0, 25.0, 0.9)


def watched(
    images: Encoded, texts: Encoded, similarity: np.ndarray, loss: float | None, before: Point | None
) -> Collapse:
    """What an evaluation says of a collapse.

    images, texts: both sides of the split; similarity: (n_images, n_captions), finite
    loss: since the evaluation before, divided by that of a constant similarity; None where that is not known
    before: the evaluation before; the first is never counted as a collapse, as all methods begin near one
    """
    image_rank, text_rank = rank_of(images), rank_of(texts)
    i2t_hub, t2i_hub = hub_share(similarity, 1), hub_share(similarity, 0)
    rank, hub, share = _LASTS if before is not None and before.collapsed else _BEGINS
    alike = min(image_rank, text_rank) <= rank or max(i2t_hub, t2i_hub) >= hub
    return Collapse(
        image_rank=image_rank,
        text_rank=text_rank,
        i2t_hub=i2t_hub,
        t2i_hub=t2i_hub,
        loss=loss,
        collapsed=before is not None and alike and (loss is None or loss >= share),
    )


def line(history: Sequence[Point]) -> str | None:
    """What is said after the last of these evaluations: where a collapse begins, and where it is over. history: at least one"""
    *earlier, last = history
    before = bool(earlier) and earlier[-1].collapsed
    if last.collapse is None or last.collapsed == before:
        return None
    if before:
        return "The training is no longer collapsed."
    return f"The training has collapsed: {last.collapse.signs}. {AGAINST_COLLAPSE}"


def effective_rank(vectors: Tensor) -> float:
    """How many directions the vectors fill: e to the entropy of the singular values, divided by their sum.

    vectors: (n, d), on the CPU, not centred, so that n times the same vector has 1; the highest possible is min(n, d)
    Source: Roy and Vetterli, The effective rank (EUSIPCO 2007); of representations: RankMe (ICML 2023). 0 where all are 0.
    """
    wide = vectors.double()
    gram = wide @ wide.T if len(wide) <= wide.shape[1] else wide.T @ wide
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp()) if values.any() else 0.0


def rank_of(encoded: Encoded) -> float:
    """The effective rank of a side of a split, of at most 512 items, evenly spread; of sets, of their means."""
    items = np.linspace(0, len(encoded) - 1, min(len(encoded), _ITEMS)).astype(np.int64)
    return effective_rank(encoded.take(items).means())


def hub_share(similarity: np.ndarray, axis: int) -> float:
    """The share of queries, in percent, whose best item is the one that wins most often; of equal items the first wins.

    similarity: (n_images, n_captions); axis: 1: images ask for captions, 0: captions ask for images
    """
    winners = similarity.argmax(axis=axis)
    return float(100.0 * np.bincount(winners).max() / len(winners))
