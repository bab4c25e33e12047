"""How sure figures of one test set are: bootstrap intervals over images, and a paired permutation test of two results.

The unit is the image: its own query and those of its captions are drawn, or swapped, together, as they share a picture. What
is said is about other images of the same kind; how much another training would differ, only seeds tell.
Figures of many results are worked out from the same draws, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from itrcore.ranking import Ranks

RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
FIGURES = (*RECALLS, "rsum")
LEVEL = 95  # percent, of intervals
ALPHA = 0.05  # a higher p: not told apart
RESAMPLES = 10_000
_BLOCK = 2**22  # numbers drawn at once
_EQUAL = 1e-9  # relative: sums of the same terms in another order differ by less, different ones by more


@dataclass(frozen=True)
class Outcomes:
    """What each image contributes to the recalls.

    hits: (n_images, 6), for each of `RECALLS` the queries of an image that reach it: of image → text 0 or 1, of text → image
        0 to its number of captions. Means over seeds and differences of two results are of the same form.
    captions: (n_images,) the number of captions of each
    """

    hits: np.ndarray
    captions: np.ndarray

    @classmethod
    def of(cls, ranks: Ranks, image_of: np.ndarray) -> Outcomes:
        """ranks: of all queries; image_of: (n_captions,) the image of each caption"""
        images = len(ranks.image_to_text)
        columns: list[np.ndarray] = [ranks.image_to_text <= k for k in (1, 5, 10)]
        columns += [np.bincount(image_of, ranks.text_to_image <= k, images) for k in (1, 5, 10)]
        return cls(np.column_stack(columns).astype(np.float64), np.bincount(image_of, minlength=images))

    @classmethod
    def mean(cls, outcomes: Sequence[Outcomes]) -> Outcomes:
        """Image by image, of several results on the same test set."""
        return cls(np.mean([each.hits for each in outcomes], axis=0), outcomes[0].captions)

    def __sub__(self, other: Outcomes) -> Outcomes:
        """Whose figures are the differences of both results' figures."""
        return Outcomes(self.hits - other.hits, self.captions)

    def figures(self) -> dict[str, float]:
        """Name of `FIGURES` → its value in percent points, as `itrcore.ranking.metrics` has it."""
        figures = _figures(self.hits.sum(axis=0), len(self.hits), self.captions.sum())
        return dict(zip(FIGURES, figures.tolist(), strict=True))


def intervals(results: Sequence[Outcomes], seed: int = 0) -> list[dict[str, tuple[float, float]]]:
    """For each result on one test set: name of `FIGURES` → its 95 % bootstrap interval.

    Each of 10,000 resamples draws as many images as there are, with replacement; the interval is from the 2.5th to the 97.5th
    percentile of its figures (Efron, 1979). Of a difference of two results: the paired interval, both with the same images.
    """
    captions = results[0].captions
    images = len(captions)
    per_image = np.column_stack([captions, *(each.hits for each in results)]).astype(np.float64)
    random, drawn = np.random.default_rng(seed), []
    for size in _blocks(images):
        places = random.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
        times = np.bincount(places.ravel(), minlength=size * images).reshape(size, images)
        totals = times @ per_image
        drawn.append(_figures(totals[:, 1:].reshape(size, len(results), -1), images, totals[:, :1, None]))
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0).tolist()
    return [dict(zip(FIGURES, zip(*ends, strict=True), strict=True)) for ends in zip(low, high, strict=True)]


def p_values(differences: Sequence[Outcomes], seed: int = 0) -> list[dict[str, float]]:
    """For each difference `a - b` of two results on one test set: name of `FIGURES` → p that they do not differ in it.

    Of the two-sided paired permutation test. If two results do not differ, an image's outcomes might as well be those of the
    other one: each of 10,000 permutations swaps both results' outcomes of each image or leaves them, at random, which turns the
    sign of the image's difference. p is the share of permutations whose difference is at least as large as the one that was
    found, itself counted as one of them.
    """
    captions = differences[0].captions
    images, total = len(captions), captions.sum()
    # What each image adds to each figure.
    parts = np.concatenate([_figures(each.hits, images, total) for each in differences], axis=1)
    found = np.abs(parts.sum(axis=0)) - _EQUAL * np.abs(parts).sum(axis=0)
    random, reached = np.random.default_rng(seed), np.ones(len(found), np.int64)
    for size in _blocks(images):
        # A bit for each image; whole words for each permutation, so that blocks of any size draw the same.
        bits = np.frombuffer(random.bytes(size * 8 * -(-images // 64)), np.uint8).reshape(size, -1)
        turned = np.unpackbits(bits, axis=1, count=images).astype(np.float64) @ parts
        reached += (np.abs(parts.sum(axis=0) - 2 * turned) >= found).sum(axis=0)
    p = (reached / (1 + RESAMPLES)).reshape(len(differences), -1).tolist()
    return [dict(zip(FIGURES, of_one, strict=True)) for of_one in p]


def _blocks(images: int) -> Iterator[int]:
    """Sizes of the blocks in which resamples of so many images are drawn."""
    step = max(1, _BLOCK // images)
    for start in range(0, RESAMPLES, step):
        yield min(step, RESAMPLES - start)


def _figures(hits: np.ndarray, images: float, captions: np.ndarray) -> np.ndarray:
    """(…, 6) hits, of so many images and captions together → (…, 7) figures in percent points."""
    recalls = 100.0 * np.concatenate([hits[..., :3] / images, hits[..., 3:] / captions], axis=-1)
    return np.concatenate([recalls, recalls.sum(axis=-1, keepdims=True)], axis=-1)
