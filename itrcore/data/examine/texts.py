"""Figures of the captions of each split, and what is odd about them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itrcore.data.captions import Image
from itrcore.data.examine.problems import Duplicates, Finding, Problem, Shared, Splits, name_of, quote
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.progress import Count

LONG = 100  # words; the longest caption of Flickr30K has 82
MOST_UNKNOWN = 0.05  # share of a split's words
# What no caption holds: the replacement character, and control characters, which Windows-1252 read as Latin-1 leaves.
_UNPRINTABLE = re.compile("[\ufffd\x00-\x08\x0b-\x1f\x7f-\x9f]")
_EVERY = 100  # images between two reports of progress


@dataclass(frozen=True)
class Words:
    """The words of a split's captions, as the data set's vocabulary splits and knows them.

    lengths: (n_captions,) words of each caption
    types: distinct words; unknown, unknown_types: words and distinct words that the vocabulary lacks
    """

    lengths: np.ndarray
    types: int
    unknown: int
    unknown_types: int


@dataclass(frozen=True)
class Captions:
    """A split's captions. per_image: fewest and most of an image; words: None without a vocabulary."""

    images: int
    captions: int
    per_image: tuple[int, int]
    words: Words | None


@dataclass(frozen=True)
class Texts:
    """All splits' captions."""

    splits: dict[str, Captions]
    duplicates: Duplicates
    problems: list[Problem]


def examine(splits: Splits, vocabulary: Vocabulary | None, progress: Count) -> Texts:
    """Look at every caption.

    progress: called with captions done, captions in all
    Two captions that differ only in upper and lower case or spaces are the same: they are to a model.
    """
    shared = Shared("captions", splits)
    figures: dict[str, Captions] = {}
    problems: list[Problem] = []
    done, total = 0, sum(len(image.captions) for images in splits.values() for image in images)
    for split, images in splits.items():
        lengths: list[int] = []
        words: Counter[str] = Counter()
        odd = _Oddities(split)
        for position, image in enumerate(images):
            for caption in image.captions:
                shared.add(" ".join(caption.lower().split()), split, position)
                tokens = vocabulary.splitter(caption) if vocabulary else caption.split()
                lengths.append(len(tokens))
                words.update(tokens)
                odd.look(image, caption, len(tokens))
            done += len(image.captions)
            if position % _EVERY == 0 or position == len(images) - 1:
                progress(done, total)
        counts = [len(image.captions) for image in images]
        known = _words(lengths, words, vocabulary) if vocabulary else None
        problems += [*odd.problems(), *_fewer(split, images, counts), *_unknown(split, known, words, vocabulary)]
        figures[split] = Captions(len(images), sum(counts), (min(counts, default=0), max(counts, default=0)), known)
    problems += shared.problems(twice="warning", within="note", across="note", quoted=True)
    return Texts(figures, shared.duplicates(can_repeat=True), problems)


class _Oddities:
    """What is odd about single captions of a split."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._wordless = Finding("warning", f"captions of {split} without a word")
        self._long = Finding("warning", f"captions of {split} of more than {LONG} words")
        self._garbled = Finding("warning", f"captions of {split} with signs of a wrong encoding")

    def look(self, image: Image, caption: str, length: int) -> None:
        if not any(character.isalnum() for character in caption):
            self._wordless.add(self._example(image, caption))
        if length > LONG:
            self._long.add(f"{length} words: {self._example(image, caption)}")
        if _UNPRINTABLE.search(caption) or misread(caption):
            self._garbled.add(self._example(image, caption))

    def problems(self) -> list[Problem]:
        return [*self._wordless.problems(), *self._long.problems(), *self._garbled.problems()]

    def _example(self, image: Image, caption: str) -> str:
        return f"{name_of(self._split, image)}: {quote(caption)}"


def _words(lengths: list[int], words: Counter[str], vocabulary: Vocabulary) -> Words:
    unknown = [count for word, count in words.items() if word not in vocabulary.ids]
    return Words(np.array(lengths), len(words), sum(unknown), len(unknown))


def _fewer(split: str, images: Sequence[Image], counts: Sequence[int]) -> list[Problem]:
    usual = Counter(counts).most_common(1)[0][0] if counts else 0
    fewer = Finding("warning", f"images of {split} with fewer captions than the usual {usual}")
    for image, count in zip(images, counts, strict=True):
        if count < usual:
            fewer.add(f"{name_of(split, image)}: {count}")
    return fewer.problems()


def _unknown(split: str, known: Words | None, words: Counter[str], vocabulary: Vocabulary | None) -> list[Problem]:
    if known is None or vocabulary is None or known.unknown <= MOST_UNKNOWN * known.lengths.sum():
        return []
    share = known.unknown / known.lengths.sum()
    finding = Finding(
        "warning", f"words of {split} that the vocabulary lacks, {share:.1%} of all, more than {MOST_UNKNOWN:.0%}"
    )
    for word, count in words.most_common():
        if word not in vocabulary.ids:
            finding.add(f"{quote(word)}: {count:,}", count)
    return finding.problems()


def misread(text: str) -> bool:
    """Whether the text is UTF-8 that was read as Latin-1 or Windows-1252: `cafÃ©`, `itâ€™s`. A sign, no proof."""
    if text.isascii():
        return False
    for encoding in ("latin-1", "cp1252"):
        try:
            text.encode(encoding).decode("utf-8")
            return True
        except UnicodeError:
            continue
    return False
