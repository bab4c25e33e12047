"""Ranks and recalls from a similarity matrix, by counting. Ties count against the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itrcore.errors import DataError

_BLOCK = 2**22  # similarities compared at once, so that the comparisons stay in cache


@dataclass(frozen=True)
class Ranks:
    """The rank of the right answer, from 1, for every query.

    image_to_text: (n_images,) int64, of the best of an image's own captions among the captions of other images
    text_to_image: (n_captions,) int64, of a caption's own image among all images
    """

    image_to_text: np.ndarray
    text_to_image: np.ndarray


def ranks(similarity: np.ndarray, image_of: np.ndarray, where: Path | str = "similarity") -> Ranks:
    """The ranks of a similarity matrix.

    similarity: (n_images, n_captions), higher is more alike; may be memory-mapped
    image_of: (n_captions,) the image each caption belongs to; every image has at least one caption
    where: what the matrix is, for messages
    A wrong item with the same score as the right one counts as before it, so that a constant similarity ranks last, not first.
    `DataError` for another shape, and for a value that is not finite: comparisons with NaN are false, so that it would look
    like a perfect rank.
    """
    n_images, n_captions = similarity.shape
    counts = np.bincount(image_of, minlength=n_images)
    if not n_images or len(image_of) != n_captions or len(counts) != n_images or not counts.all():
        raise DataError(
            f"{where}: found similarities of {n_images} images × {n_captions} captions for {len(image_of)} captions of "
            f"{len(np.unique(image_of))} images; expected as many of both, and a caption for every image."
        )
    right = similarity[image_of, np.arange(n_captions)]
    best = np.full(n_images, -np.inf, similarity.dtype)
    with np.errstate(invalid="ignore"):  # NaN is refused below, with its place
        np.maximum.at(best, image_of, right)
    before_image = np.zeros(n_images, np.int64)
    before_caption = np.zeros(n_captions, np.int64)
    step = max(1, _BLOCK // n_captions)
    for start in range(0, n_images, step):
        block = similarity[start : start + step]
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise DataError.at(
                where, f"found {block[row, column]} for caption {column}", "finite scores", start + int(row)
            )
        before_image[start : start + step] = (block >= best[start : start + step, None]).sum(axis=1)
        before_caption += (block >= right[None, :]).sum(axis=0)
    # Both counts include right answers: an image's own captions that reach its best one, and the caption's own image.
    own = np.bincount(image_of[right >= best[image_of]], minlength=n_images)
    return Ranks(before_image - own + 1, before_caption)


def metrics(ranks: Ranks) -> dict[str, float]:
    """R@1, R@5, R@10 in percent, median and mean rank, each way, and rsum, the sum of the six recalls.

    The median is rounded down, as the released codes do: they take it of ranks from 0, round it down and add 1.
    """
    values: dict[str, float] = {}
    for direction, of_queries in (("i2t", ranks.image_to_text), ("t2i", ranks.text_to_image)):
        for k in (1, 5, 10):
            values[f"{direction}_r{k}"] = float(100.0 * (of_queries <= k).mean())
        values[f"{direction}_median"] = float(np.floor(np.median(of_queries)))
        values[f"{direction}_mean"] = float(of_queries.mean())
    values["rsum"] = sum(values[f"{direction}_r{k}"] for direction in ("i2t", "t2i") for k in (1, 5, 10))
    return values
