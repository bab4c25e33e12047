"""CxC within one side: which images are like an image, which captions like a caption. Only for methods of one vector per item.

As VSE∞'s code does: inner products, and an item is not taken out of its own list but scores 0 there, before all that is negative.
Positives of an image are those rated 2.5 or higher, both ways; images without one are left out. Positives of a caption are the
image's other captions whatever their rating, and captions rated 3 or higher, in the order in which they were asked about.
"""

from __future__ import annotations

import numpy as np

from itrcore.protocols import cxc_ratings
from itrcore.protocols.contract import WITHIN, Judged, Protocol, recalls
from itrcore.protocols.cxc import recalls_of
from itrcore.protocols.uncertainty import Outcomes, of_ranks

_ROWS = 512  # queries scored at once: for 25,000 captions 50 MB


def ranks_within(vectors: np.ndarray, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The rank of each query's best positive among all items that are not its positives, from 1; 0 for a query that has none.

    vectors: (n, d); queries, items: (n_pairs,), the positive pairs, none of an item with itself; pairs may repeat
    Returned: (n,) int64. A wrong item with the same score counts as before.
    """
    queries, items = np.unique(np.stack([queries, items]), axis=1)  # in the order of the queries
    vectors = np.asarray(vectors)
    found = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _ROWS):
        scores = vectors[start : start + _ROWS] @ vectors.T
        n = len(scores)
        scores[np.arange(n), np.arange(start, start + n)] = 0
        first, end = np.searchsorted(queries, (start, start + n))
        query, right = queries[first:end] - start, scores[queries[first:end] - start, items[first:end]]
        best = np.full(n, np.inf, scores.dtype)
        best[query] = -np.inf
        np.maximum.at(best, query, right)
        own = np.bincount(query[right >= best[query]], minlength=n)
        found[start : start + n] = np.where(np.isinf(best), 0, (scores >= best[:, None]).sum(axis=1) - own + 1)
    return found


def _ranks(judged: Judged) -> tuple[np.ndarray, np.ndarray] | None:
    """Of images and of captions; None where the method has no vectors."""
    if judged.vectors is None:
        return None
    images, captions = judged.vectors
    return judged.once("cxc_within", lambda: _ranked(judged, images, captions))


def _ranked(judged: Judged, images: np.ndarray, captions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    alike = cxc_ratings.of(judged, "sis").at_least(2.5).both_ways()
    rated = cxc_ratings.of(judged, "sts").at_least(3.0)
    column, other = _same_image(judged)
    return (
        ranks_within(images, alike.first, alike.second),
        ranks_within(captions, np.concatenate([column, rated.first]), np.concatenate([other, rated.second])),
    )


def _measure(judged: Judged) -> dict[str, float]:
    if (ranks := _ranks(judged)) is None:
        return {}
    return {
        f"{side}_{key}": value
        for side, of_side in zip(WITHIN, ranks, strict=True)
        for key, value in recalls_of(of_side, leave_out=True).items()
    }


def _outcomes(judged: Judged) -> Outcomes | None:
    ranks = _ranks(judged)
    return None if ranks is None else Outcomes.of_parts(of_ranks(*ranks, judged.image_of, WITHIN))


def _same_image(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of two captions of one image, both ways."""
    ends = np.cumsum([len(image.captions) for image in judged.images])
    pairs = [
        (first, second)
        for image, end in zip(judged.images, ends.tolist(), strict=True)
        for first in range(end - len(image.captions), end)
        for second in range(end - len(image.captions), end)
        if first != second
    ]
    first, second = np.array(pairs).T
    return first, second


PROTOCOL = Protocol(
    "CxC within images and within captions",
    recalls(sides=WITHIN),
    _measure,
    "Only for methods of one vector per item. Right are images rated 2.5 or higher, in either order; captions of the same image, "
    "and those rated 3 or higher.",
    _outcomes,
)
