"""What an examination finds: problems by severity, with counts and the first few examples, and duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from itrcore.data.captions import Image
from itrcore.errors import DataError

EXAMPLES = 5  # shown of each problem
_TEXT_SHOWN = 100  # characters of a caption in an example
_NAMED = 3  # images that share something

Severity = Literal["error", "warning", "note"]
Splits = Mapping[str, Sequence[Image]]


@dataclass(frozen=True)
class Problem:
    """One kind of finding.

    severity: `error`: results on this data would be wrong, or a step fails on it; `warning`: worth a look, and some
        released data has it; `note`: usual, shown so that it is known
    count: how many of what `what` names; examples: the first few
    """

    severity: Severity
    what: str
    count: int
    examples: tuple[str, ...] = ()


def unreadable(error: DataError) -> Problem:
    """A file that cannot be used: its message says everything."""
    return Problem("error", "files that cannot be used", 1, (str(error),))


class Finding:
    """Counts one kind of problem while data goes by and keeps the first few examples."""

    def __init__(self, severity: Severity, what: str) -> None:
        self._severity, self._what = severity, what
        self._count = 0
        self._examples: list[str] = []

    def add(self, example: str, count: int = 1) -> None:
        """Count one, or several at once; the examples of the first few calls are kept."""
        self._count += count
        if len(self._examples) < EXAMPLES:
            self._examples.append(example)

    def problems(self) -> list[Problem]:
        """The problem, or nothing where it never occurred."""
        return [Problem(self._severity, self._what, self._count, tuple(self._examples))] if self._count else []


@dataclass(frozen=True)
class Duplicates:
    """How many captions, features or pictures are there more than once.

    image: twice on one image (None: cannot be); split: on several images of one split; across: in several splits
    """

    image: int | None
    split: int
    across: int


class Shared:
    """Which images have the same caption, features or picture: places by what they have."""

    def __init__(self, things: str, splits: Splits) -> None:
        """`things`: the plural that messages use."""
        self._things, self._splits = things, splits
        self._places: dict[str, list[tuple[str, int]]] = {}

    def add(self, key: str, split: str, position: int) -> None:
        """The image at this position of the split has `key`: a text, or a digest."""
        self._places.setdefault(key, []).append((split, position))

    def duplicates(self, can_repeat: bool) -> Duplicates:
        """Counts of distinct keys; `can_repeat`: one image may have several."""
        return Duplicates(len(self._twice()) if can_repeat else None, len(self._within()), len(self._across()))

    def problems(self, twice: Severity, within: Severity, across: Severity, quoted: bool = False) -> list[Problem]:
        """A problem for each kind of duplicate that occurs; `quoted`: keys are texts to show."""
        kinds: list[tuple[Severity, str, list[str]]] = [
            (across, f"{self._things} that images of several splits share", self._across()),
            (within, f"{self._things} that several images of a split share", self._within()),
            (twice, f"{self._things} that one image has twice", self._twice()),
        ]
        return [
            Problem(severity, what, len(keys), tuple(self._example(key, quoted) for key in keys[:EXAMPLES]))
            for severity, what, keys in kinds
            if keys
        ]

    def _twice(self) -> list[str]:
        return [key for key, places in self._places.items() if len(set(places)) < len(places)]

    def _within(self) -> list[str]:
        return [key for key, places in self._places.items() if len(set(places)) > 1 and not _several_splits(places)]

    def _across(self) -> list[str]:
        return [key for key, places in self._places.items() if _several_splits(places)]

    def _example(self, key: str, quoted: bool) -> str:
        places = list(dict.fromkeys(self._places[key]))
        # One of each split first, so that the example shows that several splits have it.
        first_of = {split: (split, position) for split, position in reversed(places)}
        places = sorted(places, key=lambda place: place != first_of[place[0]])
        names = [name_of(split, self._splits[split][position]) for split, position in places[:_NAMED]]
        more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
        return (f"{quote(key)}: " if quoted else "") + " = ".join(names) + more


def _several_splits(places: list[tuple[str, int]]) -> bool:
    return len(places) > 1 and len({split for split, _ in places}) > 1


def name_of(split: str, image: Image) -> str:
    """How examples name an image: `test, image 103 (x.jpg)`."""
    return f"{split}, image {image.image_id}" + (f" ({image.file_name})" if image.file_name else "")


def quote(text: str) -> str:
    """A caption as an example shows it."""
    return f"“{text if len(text) <= _TEXT_SHOWN else text[:_TEXT_SHOWN] + '…'}”"
