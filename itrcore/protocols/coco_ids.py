"""Which of COCO's 5,000 test images and 25,000 captions a split has in its rows and columns, and what others annotated as right.

All of it comes with the package `eccv_caption` (Chun et al., ECCV 2022): ids in the order of SCAN's `testall` files, ECCV Caption's
positives, and the pairs that Crisscrossed Captions (Parekh et al., EACL 2021) rates 3 or higher.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from itrcore.data.captions import Image
from itrcore.errors import DataError


@cache
def annotated() -> Any:
    """The `Metrics` of eccv_caption, with ids and positives; about 0.3 s once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "failed to import")  # ujson, which is only faster
        from eccv_caption import Metrics

        return Metrics()


@dataclass(frozen=True)
class Ids:
    """COCO's ids of a split: (n_images,) of its rows, (n_captions,) of its columns, int64."""

    images: np.ndarray
    captions: np.ndarray


def resolve(images: Sequence[Image], name: str) -> Ids:
    """COCO's ids of the images and captions of its test split, whatever their order. name: what is judged, for messages

    Captions that are numbered through, as where no Karpathy JSON was given, get theirs by their place inside the image.
    `DataError` with a count where the images are not exactly the 5,000, or captions are not those of their images.
    """
    known = annotated()
    captions_of: dict[int, list[int]] = {}
    for caption in known.coco_ids.tolist():
        captions_of.setdefault(known.coco_gts["t2i"][caption][0], []).append(caption)
    own = {image.image_id for image in images}
    strange = [image.image_id for image in images if image.image_id not in captions_of]
    if lacking := len(captions_of.keys() - own):
        raise _unresolved(name, len(images), "images", strange, f"{lacking:,} of those 5,000 are missing")
    if strange or len(own) < len(images):
        raise _unresolved(name, len(images), "images", strange, f"{len(images) - len(own):,} stand twice")
    given = np.array([caption for image in images for caption in image.caption_ids])
    numbered = bool((np.diff(given) == 1).all())
    ids: list[int] = []
    wrong: list[int] = []
    for image in images:
        expected = captions_of[image.image_id]
        if len(image.caption_ids) == len(expected) and (numbered or sorted(image.caption_ids) == sorted(expected)):
            ids += expected if numbered else image.caption_ids
        else:
            wrong += [caption for caption in image.caption_ids if caption not in expected] or image.caption_ids
    if wrong:
        raise _unresolved(name, len(given), "captions", wrong, "each image needs its five")
    return Ids(np.array([image.image_id for image in images]), np.array(ids))


def _unresolved(name: str, count: int, what: str, strange: Sequence[int], more: str) -> DataError:
    found = f"{len(strange):,} of {count:,} {what} cannot be resolved"
    found += f" (the first: id {strange[0]})" if strange else ""
    return DataError(
        f"{name}: {found}; expected the 5,000 test images of MS-COCO with 5 captions each, by COCO's ids; {more}. Is the data set "
        "MS-COCO, its split test all of SCAN's testall, and are the ids of its files COCO's?"
    )


def pairs(positives: Mapping[int, Sequence[int]], ids: Ids) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the positives in a split's matrix: two arrays of (n_pairs,) int64. positives: caption id → image ids"""
    row_of = {image: row for row, image in enumerate(ids.images.tolist())}
    column_of = {caption: column for column, caption in enumerate(ids.captions.tolist())}
    found = [(row_of[image], column_of[caption]) for caption, images in positives.items() for image in images]
    rows, columns = np.array(found).T
    return rows, columns
