"""COCO 1K: the mean over five folds of 1,000 consecutive images each, taken out of the similarities of the 5,000 test images.

As in the released codes of SCAN, VSE∞, SGRAF, ESA and ESL. rsum is the mean of the folds' rsum, which is the sum of the mean
recalls. SCAN's and SGRAF's codes print another sum for five folds (twice that of image → text); their six recalls are the same.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np

from itrcore.errors import DataError
from itrcore.protocols.contract import Judged, Protocol, recalls
from itrcore.ranking import metrics

FOLDS, IMAGES, CAPTIONS = 5, 1000, 5  # folds, images of a fold, captions of an image


def mean_of_folds(judged: Judged, images: int) -> dict[str, float]:
    """The mean of each figure of `ranking.metrics` over folds of consecutive images.

    images: of a fold; the split has a multiple of them
    """
    folds = []
    for start in range(0, len(judged.images), images):
        first, end = np.searchsorted(judged.image_of, (start, start + images)).tolist()
        folds.append(metrics(judged.ranks_of(slice(start, start + images), slice(first, end))))
    return {key: fmean(fold[key] for fold in folds) for key in folds[0]}


def _measure(judged: Judged) -> dict[str, float]:
    if len(judged.images) != FOLDS * IMAGES or any(len(image.captions) != CAPTIONS for image in judged.images):
        raise DataError(
            f"{judged.name}: protocol coco_1k: found {judged.similarity.shape[0]:,} images and "
            f"{judged.similarity.shape[1]:,} captions; expected COCO's {FOLDS * IMAGES:,} test images with {CAPTIONS} captions "
            "each. Remove the protocol from params.yaml, or take the whole test split (testall in SCAN's files)."
        )
    return mean_of_folds(judged, IMAGES)


PROTOCOL = Protocol("COCO 1K, mean of five folds", recalls(ranked=True), _measure)
