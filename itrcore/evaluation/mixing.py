"""How the similarities of an ensemble's members become one: scale, weights, and what dev says of both.

Weights and members are chosen by rsum on dev alone, the part of it that chose the members' own weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from itrcore.errors import DataError
from itrcore.ranking import Ranks, metrics, ranks
from itrcore.runs.scored import Scored
from itrcore.settings.runs import Scale, Weights

_BLOCK = 2**22  # similarities mixed at once
STEPS = 20  # a weight is a multiple of 1/20 of the whole

Both = tuple[
    np.ndarray, "np.ndarray | None"
]  # what images rank captions by; what captions rank images by, if that differs


def mixed(members: Sequence[Scored], weights: Sequence[float], scale: Scale, names: Sequence[str]) -> Both:
    """The weighted mean of the members' similarities, (n_images, n_captions) float32, summed in float64.

    weights: of the members, summing to 1; names: theirs, for messages
    Of a scale that is taken for each query there are two: of the images' queries, and of the captions'.
    `DataError` where the members differ in shape.
    """
    for name, member in zip(names, members, strict=True):
        if member.shape != members[0].shape:
            raise DataError(
                f"{name}: found similarities of shape {member.shape}; expected {members[0].shape}, as of {names[0]}"
            )
    n_images, n_captions = members[0].shape
    of_images = np.empty((n_images, n_captions), np.float32)
    for rows in _slices(n_images, n_captions):
        of_images[rows] = _mean([_scaled(member.block(images=rows), scale) for member in members], weights)
    if scale == "none":
        return of_images, None
    of_captions = np.empty((n_images, n_captions), np.float32)
    for columns in _slices(n_captions, n_images):
        blocks = [_scaled(member.block(captions=columns).T, scale) for member in members]
        of_captions[:, columns] = _mean(blocks, weights).T
    return of_images, of_captions


def _slices(count: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // width)
    return (slice(start, start + step) for start in range(0, count, step))


def _mean(blocks: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    total = np.zeros(blocks[0].shape)
    for block, weight in zip(blocks, weights, strict=True):
        total += weight * block.astype(np.float64)
    return total


def _scaled(queries: np.ndarray, scale: Scale) -> np.ndarray:
    """Similarities of queries with all items, (queries, items), made comparable with those of other members."""
    if scale == "none":
        return queries
    if scale == "z_score":
        values = queries.astype(np.float64)
        values -= values.mean(axis=1, keepdims=True)
        deviation = values.std(axis=1, keepdims=True)
        return values / np.where(deviation > 0, deviation, 1.0)
    # The rank of each item, equal ones with that of the last of them: so that a tie never helps.
    items = queries.shape[1]
    placed = np.empty(queries.shape)
    for query, ordered, row in zip(queries, np.sort(queries, axis=1), placed, strict=True):
        row[:] = np.searchsorted(ordered, query, "left") - items
    return placed


def rsum(both: Both, image_of: np.ndarray) -> float:
    """rsum of mixed similarities. image_of: (n_captions,) the image of each caption"""
    of_images, of_captions = both
    found = ranks(of_images, image_of)
    if of_captions is not None:
        found = Ranks(found.image_to_text, ranks(of_captions, image_of).text_to_image)
    return metrics(found)["rsum"]


@dataclass(frozen=True)
class Dev:
    """The members' similarities on dev, scaled once, so that many weights can be tried."""

    members: dict[str, Both]
    image_of: np.ndarray

    @classmethod
    def of(cls, members: dict[str, Scored], image_of: np.ndarray, scale: Scale) -> Dev:
        """From the scores of each run by name, all of one shape."""
        return cls({name: mixed([member], [1.0], scale, [name]) for name, member in members.items()}, image_of)

    def rsum(self, runs: Sequence[str], weights: Sequence[float]) -> float:
        """Of the weighted mean of some of them."""
        sides = list(zip(*(self.members[run] for run in runs), strict=True))
        of_images, of_captions = (
            None if side[0] is None else _mean(side, weights).astype(np.float32) for side in sides
        )
        assert of_images is not None
        return rsum((of_images, of_captions), self.image_of)

    def weights(self, runs: Sequence[str], kind: Weights) -> tuple[tuple[float, ...], float]:
        """The weights of this kind, summing to 1, and their rsum.

        Chosen ones begin as equal ones. One member after the other takes the weight of 0, 0.05 … 1 that is best, while the
        others share the rest as before, until nothing gets better. For two members that is the best of all these weights.
        """
        best = tuple(1 / len(runs) for _ in runs)
        reached = self.rsum(runs, best)
        better = kind == "dev"
        while better:
            better = False
            for place in range(len(runs)):
                for weights in list(_turned(best, place)):
                    found = self.rsum(runs, weights)
                    if found > reached + 1e-9:
                        best, reached, better = weights, found, True
        return best, reached

    def search(self, size: int, kind: Weights) -> list[tuple[float, tuple[str, ...], tuple[float, ...]]]:
        """All ensembles of so many members: rsum on dev, runs, weights; the best first, of equal ones as they are named."""
        found = []
        for runs in combinations(self.members, size):
            weights, reached = self.weights(runs, kind)
            found.append((reached, runs, weights))
        return sorted(found, key=lambda each: -each[0])


def _turned(weights: tuple[float, ...], place: int) -> Iterator[tuple[float, ...]]:
    """The same weights with each other value for one of them, where the others can share the rest."""
    others = 1 - weights[place]
    for step in range(STEPS + 1):
        value = step / STEPS
        if others > 1e-9:
            yield tuple(
                round(value if each == place else weight * (1 - value) / others, 6)
                for each, weight in enumerate(weights)
            )
