"""R@1 by what queries are like: groups of queries, and how sure a share of a group is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from itrcore.data.concepts.concepts import KINDS
from itrcore.protocols.uncertainty import LEVEL

LEAST = 30  # queries of a group; an interval of fewer says nearly nothing
_RANGES = 10  # at most so many ranges of a number
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 200)


@dataclass(frozen=True)
class Group:
    """Queries that are alike in something. members: (n_queries,) bool"""

    label: str
    members: np.ndarray


@dataclass(frozen=True)
class Grouping:
    """One way to part the queries of a direction. key: its name in files; side: `i2t` or `t2i`; what: the groups say"""

    key: str
    side: str
    what: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Rate:
    """A share of a group's queries with its 95 % interval, all in percent."""

    value: float
    low: float
    high: float


def words(caption: str) -> int:
    """How many words a caption has; punctuation that stands alone is none."""
    return sum(any(character.isalnum() for character in word) for word in caption.split())


def groupings(captions: Sequence[str], image_of: np.ndarray, kinds: Mapping[str, np.ndarray]) -> list[Grouping]:
    """Every way to part the queries, without those that leave fewer than two groups of `LEAST` queries.

    image_of: (n_captions,) the image of each caption
    kinds: kind of concept → (n_captions, n) bool, the concepts of that kind that each caption names; empty without concepts
    """
    found = [Grouping("words", "t2i", "words of the caption", ranges(np.array([words(text) for text in captions])))]
    if kinds:
        names = np.concatenate(list(kinds.values()), axis=1)
        in_image = np.zeros((int(image_of[-1]) + 1, names.shape[1]), bool)
        np.logical_or.at(in_image, image_of, names)
        found.append(Grouping("concepts", "t2i", "concepts that the caption names", ranges(names.sum(1))))
        found.append(Grouping("concepts", "i2t", "concepts that the image's captions name", ranges(in_image.sum(1))))
        found.append(Grouping("kinds", "t2i", "kinds of concepts that the caption names", tuple(_by_kind(kinds))))
    return [grouping for grouping in found if len(grouping.groups) > 1]


def ranges(values: np.ndarray) -> tuple[Group, ...]:
    """Groups of neighbouring whole numbers, from the lowest on, each as narrow as its least number of queries allows.

    values: (n_queries,) int, at least one. The least is a tenth of all queries, and not below `LEAST`.
    """
    least = max(LEAST, -(-len(values) // _RANGES))
    starts, held, left = [int(values.min())], 0, len(values)
    for value, count in zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True):
        if held >= least and left >= least:
            starts.append(value)
            held = 0
        held, left = held + count, left - count
    groups = []
    for start, following in zip(starts, [*starts[1:], int(values.max()) + 1], strict=True):
        members = (values >= start) & (values < following)
        last = int(values[members].max())
        groups.append(Group(f"{start}" if start == last else f"{start}–{last}", members))
    return tuple(groups)


def _by_kind(kinds: Mapping[str, np.ndarray]) -> list[Group]:
    """With and without each kind; a pair of which one side is too small says nothing."""
    groups = []
    for kind, names in kinds.items():
        with_it = np.asarray(names.any(axis=1))
        if min(with_it.sum(), (~with_it).sum()) >= LEAST:
            groups += [Group(KINDS[kind], with_it), Group(f"no {KINDS[kind]}", ~with_it)]
    return groups


def rate(right: np.ndarray, image: np.ndarray) -> Rate:
    """The share of queries that are right.

    right: (n_queries,) from 0 to 1, of several seeds their mean; image: (n_queries,) the image of each query

    The interval is Wilson's (1927), with the number of queries divided by the design effect (Kish, 1965): the captions of an
    image are right or wrong together more often than others, and count for less than as many of different images. Where all
    queries are right, or all wrong, nothing shows how much less: then the number of images is taken.
    """
    n, share = len(right), float(right.mean())
    images, image = np.unique(image, return_inverse=True)
    if 0.0 < share < 1.0:
        squared = float((np.bincount(image, right - share) ** 2).sum())
        effective = n / max(1.0, squared / (n * share * (1 - share)))
    else:
        effective = float(len(images))
    shrink = 1 + _Z**2 / effective
    centre = (share + _Z**2 / (2 * effective)) / shrink
    half = _Z / shrink * np.sqrt(share * (1 - share) / effective + _Z**2 / (4 * effective**2))
    return Rate(100 * share, 100 * max(0.0, centre - half), 100 * min(1.0, centre + half))
