"""How sure figures of one test set are: bootstrap intervals over images, and a paired permutation test of two results.

The unit is the image: its own query and those of its captions are drawn, or swapped, together, as they share a picture. What
is said is about other images of the same kind; how much another training would differ, only seeds tell.
Figures of many results are worked out from the same draws, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from itrcore.ranking import Ranks

RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
FIGURES = (*RECALLS, "rsum")
RSUM: Mapping[str, Mapping[str, float]] = {"rsum": dict.fromkeys(RECALLS, 1.0)}
LEVEL = 95  # percent, of intervals
ALPHA = 0.05  # a higher p: not told apart
RESAMPLES = 10_000
_BLOCK = 2**22  # numbers drawn at once
_EQUAL = 1e-9  # relative: sums of the same terms in another order differ by less, different ones by more


Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]  # figure → what it counts and of how many, each (n_images,)


@dataclass(frozen=True)
class Outcomes:
    """What each image contributes to figures that are shares of queries, in percent, and to weighted sums of such figures.

    names: of the shares
    hits: (n_images, n_shares), for each the queries of an image that reach it. Means over seeds and differences of two results
        are of the same form.
    asked: (n_images, n_shares), the queries of each image
    sums: name of a sum → the weight of each share in it
    """

    names: tuple[str, ...]
    hits: np.ndarray
    asked: np.ndarray
    sums: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, ranks: Ranks, image_of: np.ndarray) -> Outcomes:
        """Of `FIGURES`. ranks: of all queries; image_of: (n_captions,) the image of each caption"""
        return cls.of_parts(of_ranks(ranks.image_to_text, ranks.text_to_image, image_of), RSUM)

    @classmethod
    def of_parts(cls, parts: Parts, sums: Mapping[str, Mapping[str, float]] = MappingProxyType({})) -> Outcomes:
        """parts: at least one figure"""
        hits, asked = (np.column_stack([part[side] for part in parts.values()]).astype(np.float64) for side in (0, 1))
        return cls(tuple(parts), hits, asked, sums)

    @classmethod
    def mean(cls, outcomes: Sequence[Outcomes]) -> Outcomes:
        """Image by image, of several results on the same test set."""
        return replace(outcomes[0], hits=np.mean([each.hits for each in outcomes], axis=0))

    def __sub__(self, other: Outcomes) -> Outcomes:
        """Whose figures are the differences of both results' figures."""
        return replace(self, hits=self.hits - other.hits)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all figures: the shares, then the sums."""
        return (*self.names, *self.sums)

    def figures(self) -> dict[str, float]:
        """Each of `keys` → its value in percent points."""
        return dict(zip(self.keys, self.shares(self.hits.sum(axis=0), self.asked.sum(axis=0)).tolist(), strict=True))

    def shares(self, hits: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """(…, n_shares) hits of so many queries, (…, n_shares) → (…, n_keys) figures in percent points; 0 if nothing is asked."""
        found = np.zeros(np.broadcast_shapes(hits.shape, asked.shape))
        np.divide(100.0 * hits, asked, out=found, where=asked > 0)
        weights = np.array([[of.get(name, 0.0) for of in self.sums.values()] for name in self.names])
        return np.concatenate([found, found @ weights], axis=-1) if self.sums else found


def of_ranks(
    of_images: np.ndarray, of_captions: np.ndarray, image_of: np.ndarray, sides: Sequence[str] = ("i2t", "t2i"),
    leave_out: bool = True,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """The recalls at 1, 5 and 10 of both sides, as `Parts`.

    of_images, of_captions: the rank of each query, from 1; 0 for one without a right answer, which is left out or always missed
    image_of: (n_captions,) the image of each caption; sides: what the figures of both begin with
    """
    images, parts = len(of_images), dict[str, tuple[np.ndarray, np.ndarray]]()
    for side, ranks, image in zip(sides, (of_images, of_captions), (np.arange(images), image_of), strict=True):
        asked = np.bincount(image, (ranks > 0) if leave_out else None, images)
        for k in (1, 5, 10):
            parts[f"{side}_r{k}"] = np.bincount(image, (ranks > 0) & (ranks <= k), images), asked
    return parts


def intervals(results: Sequence[Outcomes], seed: int = 0) -> list[dict[str, tuple[float, float]]]:
    """For each result on one test set, all of the same figures: figure → its 95 % bootstrap interval.

    Each of 10,000 resamples draws as many images as there are, with replacement; the interval is from the 2.5th to the 97.5th
    percentile of its figures (Efron, 1979). Of a difference of two results: the paired interval, both with the same images.
    """
    first = results[0]
    images, number = first.asked.shape
    per_image = np.column_stack([first.asked, *(each.hits for each in results)])
    random, drawn = np.random.default_rng(seed), []
    for size in _blocks(images):
        places = random.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
        times = np.bincount(places.ravel(), minlength=size * images).reshape(size, images)
        totals = (times @ per_image).reshape(size, 1 + len(results), number)
        drawn.append(first.shares(totals[:, 1:], totals[:, :1]))
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(drawn), [tail, 100 - tail], axis=0).tolist()
    return [dict(zip(first.keys, zip(*ends, strict=True), strict=True)) for ends in zip(low, high, strict=True)]


def p_values(differences: Sequence[Outcomes], seed: int = 0) -> list[dict[str, float]]:
    """For each difference `a - b` of two results on one test set: figure → p that they do not differ in it.

    Of the two-sided paired permutation test. If two results do not differ, an image's outcomes might as well be those of the
    other one: each of 10,000 permutations swaps both results' outcomes of each image or leaves them, at random, which turns the
    sign of the image's difference. p is the share of permutations whose difference is at least as large as the one that was
    found, itself counted as one of them.
    """
    first = differences[0]
    images, total = len(first.hits), first.asked.sum(axis=0)
    # What each image adds to each figure.
    parts = np.concatenate([first.shares(each.hits, total) for each in differences], axis=1)
    found = np.abs(parts.sum(axis=0)) - _EQUAL * np.abs(parts).sum(axis=0)
    random, reached = np.random.default_rng(seed), np.ones(len(found), np.int64)
    for size in _blocks(images):
        # A bit for each image; whole words for each permutation, so that blocks of any size draw the same.
        bits = np.frombuffer(random.bytes(size * 8 * -(-images // 64)), np.uint8).reshape(size, -1)
        turned = np.unpackbits(bits, axis=1, count=images).astype(np.float64) @ parts
        reached += (np.abs(parts.sum(axis=0) - 2 * turned) >= found).sum(axis=0)
    p = (reached / (1 + RESAMPLES)).reshape(len(differences), -1).tolist()
    return [dict(zip(first.keys, of_one, strict=True)) for of_one in p]


def _blocks(images: int) -> Iterator[int]:
    """Sizes of the blocks in which resamples of so many images are drawn."""
    step = max(1, _BLOCK // images)
    for start in range(0, RESAMPLES, step):
        yield min(step, RESAMPLES - start)
