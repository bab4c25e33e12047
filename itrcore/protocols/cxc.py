"""Crisscrossed Captions (CxC; Parekh et al., EACL 2021): recalls with the positives that people rated 3 or higher on a scale of 5.

29 of the 25,000 original pairs are rated lower, and 28 captions are left without any positive. The released codes differ in what
they make of that: three conventions, each a protocol of its own name. The other items are all 25,000 captions, all 5,000 images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from itrcore.protocols.coco_ids import annotated, pairs, resolve
from itrcore.protocols.contract import Judged, Protocol, recalls
from itrcore.protocols.uncertainty import Outcomes, of_ranks

_BLOCK = 2**22  # similarities compared at once, as in `ranking.py`
Convention = Literal["left_out", "missed", "own_too"]


def best_ranks(similarity: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each query's best positive among all items that are not its positives, from 1; 0 for a query that has none.

    similarity: (n_images, n_captions), may be memory-mapped; rows, columns: of the positive pairs, each once
    Returned: of images, (n_images,), and of captions, (n_captions,), int64. A wrong item with the same score counts as before.
    """
    right = np.asarray(similarity[rows, columns])
    best = [np.full(n, np.inf, similarity.dtype) for n in similarity.shape]
    own = []
    for of_side, queries in zip(best, (rows, columns), strict=True):
        of_side[queries] = -np.inf
        np.maximum.at(of_side, queries, right)
        own.append(np.bincount(queries[right >= of_side[queries]], minlength=len(of_side)))
    before_image, before_caption = (np.zeros(n, np.int64) for n in similarity.shape)
    step = max(1, _BLOCK // similarity.shape[1])
    for start in range(0, len(similarity), step):
        block = similarity[start : start + step]
        before_image[start : start + step] = (block >= best[0][start : start + step, None]).sum(axis=1)
        before_caption += (block >= best[1]).sum(axis=0)
    # Counted are positives too: those as high as the best. A query without one is above all that is finite.
    of_images, of_captions = (
        np.where(np.isinf(of_side), 0, before - of_own + 1)
        for of_side, before, of_own in zip(best, (before_image, before_caption), own, strict=True)
    )
    return of_images, of_captions


def recalls_of(ranks: np.ndarray, leave_out: bool) -> dict[str, float]:
    """R@1, R@5, R@10 in percent. ranks: of `best_ranks`; leave_out: queries without a positive; else these are missed"""
    hits = ranks[ranks > 0] if leave_out else np.where(ranks > 0, ranks, np.iinfo(ranks.dtype).max)
    return {f"r{k}": float(100.0 * (hits <= k).mean()) for k in (1, 5, 10)}


def _ranked_by(convention: Convention) -> Callable[[Judged], tuple[np.ndarray, np.ndarray]]:
    """The ranks of images and of captions, as of `best_ranks`."""

    def ranked(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = pairs(annotated().cxc_gts["t2i"], resolve(judged.images, judged.name))
        if convention == "own_too":
            own = np.stack([judged.image_of, np.arange(len(judged.image_of))])
            rows, columns = np.unique(np.concatenate([np.stack([rows, columns]), own], axis=1), axis=1)
        return judged.each_way(lambda matrix: best_ranks(matrix, rows, columns))

    def once(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
        return judged.once(f"cxc {convention}", lambda: ranked(judged))

    return once


def _protocol(title: str, convention: Convention, note: str) -> Protocol:
    ranked, leave_out = _ranked_by(convention), convention == "left_out"

    def measure(judged: Judged) -> dict[str, float]:
        return {
            f"{side}_{key}": value
            for side, ranks in zip(("i2t", "t2i"), ranked(judged), strict=True)
            for key, value in recalls_of(ranks, leave_out).items()
        }

    def outcomes(judged: Judged) -> Outcomes:
        return Outcomes.of_parts(of_ranks(*ranked(judged), judged.image_of, leave_out=leave_out))

    return Protocol(title, recalls(), measure, note, outcomes)


LEFT_OUT = _protocol(
    "CxC",
    "left_out",
    "Positives are pairs rated 3 or higher; the 28 captions without one are left out, as by eccv_caption and PCME++.",
)
MISSED = _protocol(
    "CxC, every caption asked",
    "missed",
    "Positives are pairs rated 3 or higher; the 28 captions without one count as missed, as VSE∞'s code does with these pairs.",
)
OWN_TOO = _protocol(
    "CxC, own pairs always right",
    "own_too",
    "Positives are pairs rated 3 or higher and a caption's own image. Whether VSE∞'s published figures are such is not known.",
)
