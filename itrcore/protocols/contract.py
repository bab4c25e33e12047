"""The contract of protocols: from the similarities of a test split, or its vectors, and its truth to named figures.

A protocol is a file with a `PROTOCOL`, and a line of `itrcore/registry.py`. It is measured by the stages `judge` and `ensemble`,
and tables of its figures are made from what it says of them here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from itrcore import registry
from itrcore.data.captions import Image
from itrcore.protocols.uncertainty import Outcomes
from itrcore.ranking import Ranks, ranks
from itrcore.runs.distractors import Distractors
from itrcore.runs.pairs import Pairs

T = TypeVar("T")

SIDES = {"i2t": "image → text", "t2i": "text → image", "i2i": "image → image", "t2t": "text → text"}
BETWEEN, WITHIN = ("i2t", "t2i"), ("i2i", "t2t")
BOTH = "both"  # the group of figures of both sides
RECALLS = {"r1": "R@1", "r5": "R@5", "r10": "R@10"}


@dataclass(frozen=True)
class Judged:
    """What a protocol is given of a run or an ensemble. Arrays may be memory-mapped.

    name: of the run or ensemble, for messages
    similarity: (n_images, n_captions), finite, higher is more alike; images: of the split, in order, with captions in order
    vectors: of a method of one vector per item, (n_images, d) and (n_captions, d), whose inner products are its similarities
    cxc: the folder with the CSV files of Crisscrossed Captions, where the data set names one
    of_captions: what captions rank images by, of the same shape; None: `similarity`, as everywhere but in some ensembles
    pairs, altered: scores of right and wrong captions, and of altered ones, of a data set that names some, where they can be had
    """

    name: str
    similarity: np.ndarray
    images: Sequence[Image]
    vectors: tuple[np.ndarray, np.ndarray] | None = None
    cxc: Path | None = None
    of_captions: np.ndarray | None = None
    pairs: Pairs | None = None
    altered: Distractors | None = None
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once: for what figures and outcomes of a protocol share."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept

    @cached_property
    def image_of(self) -> np.ndarray:
        """(n_captions,) the row of each caption's image."""
        return np.repeat(np.arange(len(self.images)), [len(image.captions) for image in self.images])

    @cached_property
    def ranks(self) -> Ranks:
        """The ranks within the whole split. `DataError` where a similarity is not finite, or matrix and images do not fit."""
        return self.ranks_of()

    def ranks_of(self, images: slice = slice(None), captions: slice = slice(None)) -> Ranks:
        """The ranks within a part of the split: images and all captions of theirs. `DataError` as for `ranks`."""
        image_of = self.image_of[captions] - (images.start or 0)

        def both(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = ranks(matrix[images, captions], image_of, self.name)
            return found.image_to_text, found.text_to_image

        return Ranks(*self.each_way(both))

    def each_way(self, of_both: Callable[[np.ndarray], tuple[T, T]]) -> tuple[T, T]:
        """What a function finds for images as queries and for captions as queries, each of the similarities they rank by."""
        of_images, of_captions = of_both(self.similarity)
        return of_images, of_captions if self.of_captions is None else of_both(self.of_captions)[1]

    @property
    def by_captions(self) -> np.ndarray:
        """What captions rank images by, (n_images, n_captions)."""
        return self.similarity if self.of_captions is None else self.of_captions


@dataclass(frozen=True)
class Figure:
    """One figure: its name in records, which begins with its side, and its column's heading below that of its group.

    kind: of percentages, and sums of such, the highest is best, of ranks, deviations and misses the lowest; counts are neither
    """

    key: str
    group: str
    heading: str
    kind: Literal["percent", "rank", "deviation", "missed", "count"] = "percent"


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    title: of its table; figures: in the order of the table
    measure: the figures by key, without those that the method has not; raises `DataError`
    outcomes: what each image contributes to those of them that are shares of queries, or sums of shares; these get intervals.
        None where the method has none of them
    note: what a reader of its figures has to know, said beside them
    """

    title: str
    figures: tuple[Figure, ...]
    measure: Callable[[Judged], dict[str, float]]
    note: str = ""
    outcomes: Callable[[Judged], Outcomes | None] | None = None


def recalls(
    headings: dict[str, str] = RECALLS, ranked: bool = False, sides: Sequence[str] = BETWEEN
) -> tuple[Figure, ...]:
    """A figure for each heading and side; with `ranked` also both ranks of each side, and rsum."""
    more = {"median": "median rank", "mean": "mean rank"} if ranked else {}
    figures = [
        Figure(f"{side}_{key}", SIDES[side], heading, "rank" if key in more else "percent")
        for side in sides
        for key, heading in {**headings, **more}.items()
    ]
    return (*figures, Figure("rsum", BOTH, "rsum")) if ranked else tuple(figures)


def protocol(name: str) -> Protocol:
    """The protocol of this name in the registry."""
    found: Protocol = registry.load(registry.PROTOCOLS[name].place)
    return found
