"""ECCV Caption (Chun et al., ECCV 2022): mAP@R, R-Precision and R@1 with positives that machines found and people verified.

The package `eccv_caption` computes them from ranked lists: of 1,261 images among all 25,000 captions, of 1,332 captions among all
5,000 images. R is a query's number of positives, at most 48 captions or 19 images; no figure looks further down a list.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np

from itrcore.protocols.coco_ids import annotated, resolve
from itrcore.protocols.contract import Judged, Protocol, recalls
from itrcore.protocols.retrieved import top
from itrcore.protocols.uncertainty import Outcomes

_FIGURES = {"map_at_r": "mAP@R", "r_precision": "R-Precision", "r1": "R@1"}
# As the package calls them. It computes none but for the first name: the others alone are left out without a word.
_ASKED = {"eccv_map_at_r": "map_at_r", "eccv_rprecision": "r_precision", "eccv_r1": "r1"}


def lists(
    scores: np.ndarray, queries: np.ndarray, items: np.ndarray, positives: dict[int, list[int]]
) -> dict[int, list[int]]:
    """For each query with positives the ids of its first R items, best first; of equal scores wrong items come first.

    scores: (n_queries, n_items); queries, items: their ids; positives: query id → ids of its R positives
    """
    row_of = {query: row for row, query in enumerate(queries.tolist())}
    return {
        query: items[top(scores[row_of[query]], np.isin(items, right), len(right))].tolist()
        for query, right in positives.items()
    }


def _lists(judged: Judged) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Those of images and of captions."""

    def make() -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        known, ids = annotated(), resolve(judged.images, judged.name)
        images, captions = known.eccv_gts["i2t"], known.eccv_gts["t2i"]
        columns = np.flatnonzero(np.isin(ids.captions, list(captions)))
        of_captions = np.asarray(judged.by_captions[:, columns]).T
        return (
            lists(judged.similarity, ids.images, ids.captions, images),
            lists(of_captions, ids.captions[columns], ids.images, captions),
        )

    return judged.once("eccv", make)


def figures(judged: Judged) -> dict[str, float]:
    """The six figures in percent, of 5,000 images and 25,000 captions."""
    # The package prints bars whatever it is told.
    with contextlib.redirect_stderr(io.StringIO()):
        found = annotated().compute_all_metrics(*_lists(judged), target_metrics=tuple(_ASKED))
    return {
        f"{side}_{ours}": 100.0 * float(found[theirs][side])
        for side in ("i2t", "t2i")
        for theirs, ours in _ASKED.items()
    }


def outcomes(judged: Judged) -> Outcomes:
    """What each image, and the captions of each, contribute to the six figures."""
    known, ids, images = annotated(), resolve(judged.images, judged.name), len(judged.images)
    queries, parts = {"i2t": ids.images, "t2i": ids.captions}, dict[str, tuple[np.ndarray, np.ndarray]]()
    for (side, of_side), found in zip(queries.items(), _lists(judged), strict=True):
        place = {query: row for row, query in enumerate(of_side.tolist())}
        rows = np.array([place[query] for query in found])
        of_images = rows if side == "i2t" else judged.image_of[rows]
        right = [np.isin(listed, known.eccv_gts[side][query]) for query, listed in found.items()]
        precision = [hits.cumsum() / np.arange(1, len(hits) + 1) for hits in right]
        values = {
            "map_at_r": [(each * hits).sum() / len(hits) for each, hits in zip(precision, right, strict=True)],
            "r_precision": [each[-1] for each in precision],
            "r1": [hits[0] for hits in right],
        }
        asked = np.bincount(of_images, minlength=images)
        parts |= {f"{side}_{key}": (np.bincount(of_images, value, images), asked) for key, value in values.items()}
    return Outcomes.of_parts(parts)


PROTOCOL = Protocol(
    "ECCV Caption",
    recalls(_FIGURES),
    figures,
    "In percent. R is the number of a query's positives; 1,261 images and 1,332 captions are asked for.",
    outcomes,
)
