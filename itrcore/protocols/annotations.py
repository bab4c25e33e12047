"""What others annotated as right on COCO's test split beside its own pairs, as places in a split, and who is right by it.

ECCV Caption's positives are asked of some images and captions only; Crisscrossed Captions' hold both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itrcore.data.captions import Image
from itrcore.protocols import cxc_ratings
from itrcore.protocols.coco_ids import Ids, annotated, resolve
from itrcore.protocols.contract import Judged

ECCV, CXC = "ECCV Caption", "CxC"
RIGHT_FROM = 3.0  # of CxC's ratings, up to 5


@dataclass(frozen=True)
class Side:
    """The positives of one direction.

    right: (query, item) → how it is rated, None where it is only known to be right; asked: the queries that have any
    """

    right: Mapping[tuple[int, int], float | None]
    asked: frozenset[int]

    @classmethod
    def of(cls, right: Mapping[tuple[int, int], float | None]) -> Side:
        """right: as in `Side`"""
        return cls(right, frozenset(query for query, _ in right))

    def first_is_right(self, first: np.ndarray) -> np.ndarray:
        """(n_queries,) bool: whether a query's best answer is one of its positives. first: (n_queries,) the places of these"""
        return np.array([pair in self.right for pair in enumerate(first.tolist())], bool)


@dataclass(frozen=True)
class Annotation:
    """One annotation. sides: `i2t` and `t2i`"""

    name: str
    sides: Mapping[str, Side]

    def says(self, side: str, query: int, item: int) -> str | None:
        """That an answer is right by it, in words; None where it does not say so."""
        if (query, item) not in self.sides[side].right:
            return None
        rating = self.sides[side].right[query, item]
        return f"right by {self.name}" if rating is None else f"rated {rating:.1f} by {self.name}"


def of_split(images: Sequence[Image], protocols: Iterable[str], ratings: Path | None, name: str) -> list[Annotation]:
    """The annotations that a data set's protocols judge by: ECCV Caption's, Crisscrossed Captions', or none.

    images: of the split, in order; protocols: names of the registry; name: of the data set, for messages
    ratings: the folder with the CSV files of Crisscrossed Captions; without it only what is rated 3 or higher is known
    `DataError` where images or captions are not COCO's, or ratings are broken.
    """
    families = {protocol.partition("_")[0] for protocol in protocols} & {"eccv", "cxc"}
    if not families:
        return []
    ids = resolve(images, name)
    found = [_eccv(ids)] if "eccv" in families else []
    return [*found, _cxc(ids, images, ratings, name)] if "cxc" in families else found


def _eccv(ids: Ids) -> Annotation:
    positives = annotated().eccv_gts
    places = {"i2t": _places(ids.images), "t2i": _places(ids.captions)}
    return Annotation(
        ECCV,
        {
            side: Side.of(
                {
                    (places[side][query], places[other][item]): None
                    for query, items in positives[side].items()
                    for item in items
                    if item in places[other]  # two captions that the package names are none of the 25,000
                }
            )
            for side, other in (("i2t", "t2i"), ("t2i", "i2t"))
        },
    )


def _cxc(ids: Ids, images: Sequence[Image], ratings: Path | None, name: str) -> Annotation:
    pairs: dict[tuple[int, int], float | None] = {}
    if ratings is None:
        rows, columns = _places(ids.images), _places(ids.captions)
        for caption, of_caption in annotated().cxc_gts["t2i"].items():
            pairs |= {(rows[image], columns[caption]): None for image in of_caption}
    else:
        nothing = np.broadcast_to(np.float32(0), (len(ids.images), len(ids.captions)))
        rated = cxc_ratings.of(Judged(name, nothing, images, None, ratings), "sits").at_least(RIGHT_FROM)
        for row, column, score in zip(*(part.tolist() for part in vars(rated).values()), strict=True):
            pairs[row, column] = max(score, pairs.get((row, column)) or 0.0)  # a pair may be rated twice
    return Annotation(CXC, {"i2t": Side.of(pairs), "t2i": Side.of({(c, r): value for (r, c), value in pairs.items()})})


def _places(values: np.ndarray) -> dict[int, int]:
    return {value: place for place, value in enumerate(values.tolist())}
