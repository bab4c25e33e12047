"""COCO 1K: the mean over five folds of 1,000 consecutive images each, taken out of the similarities of the 5,000 test images.

As in the released codes of SCAN, VSE∞, SGRAF, ESA and ESL. rsum is the mean of the folds' rsum, which is the sum of the mean
recalls. SCAN's and SGRAF's codes print another sum for five folds (twice that of image → text); their six recalls are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

import numpy as np

from itrcore.errors import DataError
from itrcore.protocols.contract import Judged, Protocol, recalls
from itrcore.protocols.uncertainty import Outcomes
from itrcore.ranking import Ranks, metrics

FOLDS, IMAGES, CAPTIONS = 5, 1000, 5  # folds, images of a fold, captions of an image


def mean_of_folds(judged: Judged, images: int) -> dict[str, float]:
    """The mean of each figure of `ranking.metrics` over folds of consecutive images.

    images: of a fold; the split has a multiple of them
    """
    folds = [metrics(ranks) for ranks in _folds(judged, images)]
    return {key: fmean(fold[key] for fold in folds) for key in folds[0]}


def _folds(judged: Judged, images: int) -> Iterator[Ranks]:
    for start in range(0, len(judged.images), images):
        first, end = np.searchsorted(judged.image_of, (start, start + images)).tolist()
        yield judged.ranks_of(slice(start, start + images), slice(first, end))


def outcomes(judged: Judged, images: int = IMAGES) -> Outcomes:
    """Of the recalls and rsum: folds are of one size, so that their mean is the share of all queries."""
    folds = list(_folds(judged, images))
    sides = (np.concatenate([getattr(fold, side) for fold in folds]) for side in ("image_to_text", "text_to_image"))
    return Outcomes.of(Ranks(*sides), judged.image_of)


def _measure(judged: Judged) -> dict[str, float]:
    if len(judged.images) != FOLDS * IMAGES or any(len(image.captions) != CAPTIONS for image in judged.images):
        raise DataError(
            f"{judged.name}: protocol coco_1k: found {judged.similarity.shape[0]:,} images and "
            f"{judged.similarity.shape[1]:,} captions; expected COCO's {FOLDS * IMAGES:,} test images with {CAPTIONS} captions "
            "each. Remove the protocol from params.yaml, or take the whole test split (testall in SCAN's files)."
        )
    return mean_of_folds(judged, IMAGES)


PROTOCOL = Protocol("COCO 1K, mean of five folds", recalls(ranked=True), _measure, outcomes=outcomes)
