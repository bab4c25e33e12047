"""SugarCrepe (Hsieh et al., NeurIPS 2023): whether a picture's right caption scores higher than one that is altered.

As in its released code a pair counts where the right caption scores strictly higher. Its pictures are COCO's val2017: in
Karpathy's split most of them are trained on. Only the pairs of test images are asked about, as `evaluate` has stored them.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np

from itrcore.data.hard_negatives import CATEGORIES
from itrcore.protocols.contract import Figure, Judged, Protocol
from itrcore.protocols.uncertainty import Outcomes


def _measure(judged: Judged) -> dict[str, float]:
    if judged.pairs is None:
        return {}
    right, wrong = judged.pairs.scores.T
    found, counts = dict[str, float](), dict[str, float]()
    for category in CATEGORIES:
        of_category = judged.pairs.categories == category
        if count := int(of_category.sum()):
            found[category] = 100.0 * float((right > wrong)[of_category].mean())
            counts[f"{category}_pairs"] = float(count)
    if len(found) == len(CATEGORIES):
        found["mean"] = fmean(found.values())
    return found | counts


def _outcomes(judged: Judged) -> Outcomes | None:
    if judged.pairs is None:
        return None
    place = {image.image_id: row for row, image in enumerate(judged.images)}
    images = np.array([place[image] for image in judged.pairs.image_ids.tolist()])
    right, wrong = judged.pairs.scores.T
    parts = dict[str, tuple[np.ndarray, np.ndarray]]()
    for category in CATEGORIES:
        of_category = judged.pairs.categories == category
        if of_category.any():
            hits, asked = (
                np.bincount(images[chosen], minlength=len(place))
                for chosen in (of_category & (right > wrong), of_category)
            )
            parts[category] = hits, asked
    if len(parts) < len(CATEGORIES):
        return Outcomes.of_parts(parts) if parts else None
    return Outcomes.of_parts(parts, {"mean": dict.fromkeys(CATEGORIES, 1 / len(CATEGORIES))})


def _figure(category: str) -> Figure:
    change, _, what = category.partition("_")
    return Figure(category, change, what)


PROTOCOL = Protocol(
    "SugarCrepe",
    (
        *map(_figure, CATEGORIES),
        Figure("mean", "overall", "mean"),
        *(Figure(f"{name}_pairs", "pairs", name.replace("_", " "), "count") for name in CATEGORIES),
    ),
    _measure,
    "Percent of pairs whose right caption scores higher than the altered one, of which an object (obj), attribute (att) or "
    "relation (rel) was replaced, swapped or added; a tie is wrong, and guessing gives 50. Only pairs of pictures in test: others "
    "were trained on. An ensemble that takes a scale for each query has no such figure.",
    _outcomes,
)
