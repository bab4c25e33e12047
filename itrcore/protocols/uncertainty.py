"""How sure figures of one test set are: bootstrap intervals over images, and a paired permutation test of two results.

The unit is the image: its own query and those of its captions are drawn, or swapped, together, as they share a picture. What
is said is about other images of the same kind; how much another training would differ, only seeds tell.
Everything here is linear in what each image contributes. So images that contribute the same are counted, not drawn one by one:
the same distribution, at a cost that does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        totals = np.array([[len(self.hits), self.captions.sum(), *self.hits.sum(axis=0)]], np.float64)
        return dict(zip(FIGURES, _figures(totals)[0].tolist(), strict=True))


def intervals(outcomes: Outcomes, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Name of `FIGURES` → its 95 % bootstrap interval.

    Each of 10,000 resamples draws as many images as there are, with replacement; the interval is from the 2.5th to the 97.5th
    percentile of its figures (Efron, 1979). Of a difference of two results: the paired interval, both with the same images.
    """
    rows = np.column_stack([np.ones(len(outcomes.hits)), outcomes.captions, outcomes.hits])
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    random, step = np.random.default_rng(seed), max(1, _BLOCK // len(kinds))
    drawn = [
        _figures(random.multinomial(len(rows), counts / len(rows), min(step, RESAMPLES - start)) @ kinds)
        for start in range(0, RESAMPLES, step)
    ]
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0).tolist()
    return dict(zip(FIGURES, zip(low, high, strict=True), strict=True))


def p_values(difference: Outcomes, seed: int = 0) -> dict[str, float]:
    """Name of `FIGURES` → p of the two-sided paired permutation test that two results do not differ in it.

    difference: of the two, as `a - b` gives it
    If they do not differ, an image's outcomes might as well be those of the other one: each of 10,000 permutations swaps
    both results' outcomes of each image or leaves them, at random, which turns the sign of the image's difference. p is the
    share of permutations whose difference is at least as large as the one that was found, itself counted as one of them.
    """
    hits = difference.hits[difference.hits.any(axis=1)]  # other images change nothing, whichever sign they have
    first = hits[np.arange(len(hits)), (hits != 0).argmax(axis=1)]
    kinds, counts = np.unique(hits * np.sign(first)[:, None], axis=0, return_counts=True)
    images, captions = len(difference.hits), int(difference.captions.sum())
    scaled = _figures(np.column_stack([np.full(len(kinds), images), np.full(len(kinds), captions), kinds]))
    found = np.abs(list(difference.figures().values())) - _EQUAL * (np.abs(scaled) * counts[:, None]).sum(axis=0)
    random, step = np.random.default_rng(seed), max(1, _BLOCK // max(1, len(kinds)))
    reached = np.ones(len(FIGURES), np.int64)
    for start in range(0, RESAMPLES, step):
        signs = (
            2 * random.binomial(counts, 0.5, (min(step, RESAMPLES - start), len(kinds))) - counts
        )  # sums of each kind's
        reached += (np.abs(signs @ scaled) >= found).sum(axis=0)
    return dict(zip(FIGURES, (reached / (1 + RESAMPLES)).tolist(), strict=True))


def _figures(totals: np.ndarray) -> np.ndarray:
    """(…, 8) sums over images of 1, captions and hits → (…, 7) figures in percent points."""
    recalls = 100.0 * totals[:, 2:] / totals[:, [0, 0, 0, 1, 1, 1]]
    return np.column_stack([recalls, recalls.sum(axis=1)])
