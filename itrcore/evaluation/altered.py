"""The scores of altered captions as distractors: of each image of test with the altered captions of all, the highest of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.data import altered, captions
from itrcore.errors import DataError
from itrcore.evaluation.further import Further, Scorer
from itrcore.runs.distractors import ALTERED, KEPT, save
from itrcore.runs.folder import SPLIT

_TOGETHER = 2048  # captions encoded and scored at once: of COCO's 5,000 images 41 MB of similarities


def prepare(path: Path, data: str) -> Further:
    """Read the captions in a folder. `DataError` where a file of it is wrong, or the data set does not have its pictures."""
    asked = of_test(path, data)

    def score(scorer: Scorer[Any], folder: Path) -> None:
        save(folder / ALTERED, {kind: highest(texts, scorer) for kind, texts in asked.items()})

    return score


def of_test(path: Path, data: str) -> dict[str, list[str]]:
    """The altered captions of each kind: of each picture the last ones, as many as test has captions of it.

    `DataError`, with a count, where pictures are not in test, or have too few captions.
    """
    count_of = {image.image_id: len(image.captions) for image in captions.read(layout.captions(data), SPLIT)}
    found = {}
    for kind, pictures in altered.read(path).items():
        if strange := [image_id for image_id, _ in pictures if image_id not in count_of]:
            raise DataError.at(
                path,
                f"{len(strange):,} of {len(pictures):,} pictures of {kind} are not in test of {data} (the first: id {strange[0]})",
                "COCO's test pictures by COCO's ids",
            )
        if short := [image_id for image_id, texts in pictures if len(texts) < 2 * count_of[image_id]]:
            raise DataError.at(
                path,
                f"{len(short):,} of {len(pictures):,} pictures of {kind} have too few captions (the first: id {short[0]})",
                "for each caption of a picture an altered one, after all its own",
            )
        found[kind] = [text for image_id, texts in pictures for text in texts[-count_of[image_id] :]]
    return found


def highest(texts: list[str], scorer: Scorer[Any]) -> np.ndarray:
    """The highest similarities of each image with some captions, (n_images, k), highest first."""
    best = np.empty((len(scorer.images), 0), np.float32)
    for start in range(0, len(texts), _TOGETHER):
        scores = scorer.all_scores(scorer.encode(texts[start : start + _TOGETHER]))
        both = np.concatenate([best, scores], axis=1)
        kept = min(KEPT, both.shape[1])
        best = np.partition(both, both.shape[1] - kept, axis=1)[:, both.shape[1] - kept :]
    return -np.sort(-best, axis=1)
