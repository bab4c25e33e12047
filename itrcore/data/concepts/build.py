"""Makes a data set's concepts from its training captions, and from nothing else.

Source: CVSE (Wang et al., ECCV 2020) for the graph, whose released code takes 300 concepts: 210 objects, 30 motions and 60
properties. Its edges all weigh the same; here a stronger one weighs more.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from itrcore.cores import cores
from itrcore.data.concepts.concepts import KINDS, MOTION, OBJECT, PROPERTY, Concepts
from itrcore.data.concepts.tagging import Found, Tagger, tagger
from itrcore.data.text.vocabulary import WordSplitter, splitter_for
from itrcore.errors import DataError
from itrcore.pool import pool
from itrcore.settings.datasets import ConceptSettings

WIDTH = 300  # of vectors made from the captions: that of GloVe's
RESCALED_FROM = 0.3  # the least rescaled probability that is an edge
_BASE, _SHIFT = 5.0, 0.02
_PART = 4096  # captions tagged at once
_PARALLEL_FROM = 3  # parts; below, starting processes takes longer than they save
_BLOCK = 1 << 16  # captions counted at once; float32 counts as many exactly


def build(
    captions: Sequence[str],
    settings: ConceptSettings,
    min_count: int,
    nltk_folder: Path,
    known: Mapping[str, np.ndarray] | None = None,
    count: Callable[[int, int], None] = lambda done, total: None,
) -> Concepts:
    """The most frequent nouns (objects), verbs (motions) and adjectives (properties) of the captions, at most as many as asked.

    min_count: a concept is in at least so many captions
    nltk_folder: what stage `nltk` made
    known: word → its vector, all of one width; None: vectors are made from the captions
    count: called with the captions that are done, and all of them
    `DataError` where no word is that frequent.
    """
    found = _find(captions, nltk_folder, count)
    chosen = _choose(found, settings, min_count)
    if not chosen:
        raise DataError(
            f"no noun, verb or adjective is in {min_count} captions of train; lower vocabulary.min_count or remove concepts"
        )
    together = _together(found, chosen)
    keys = list(found.numbers)
    forms = [found.forms[term] for term in chosen]
    names = [found.tagger.word(*keys[term], of) for term, of in zip(chosen, forms, strict=True)]
    vectors = vectors_of(together) if known is None else _looked_up(names, forms, known)
    return Concepts(
        words=tuple(names),
        kinds=tuple(keys[term][0] for term in chosen),
        counts=np.diagonal(together).copy(),
        vectors=vectors,
        graph=graph_of(together),
        source="captions" if known is None else "glove",
        tagger=found.tagger.name,
    )


def graph_of(together: np.ndarray) -> np.ndarray:
    """The graph that a convolution multiplies with, (n, n) float32, of how many captions have both concepts, (n, n).

    With n_ij captions that have both and n_i that have i: P_ij = n_ij / n_i, rescaled to 5^(P_ij − 0.02) − 5^(−0.02), which
    makes weak ties weaker; what is below 0.3 is no edge. Each concept's edges are divided by their sum, a self-loop of the same
    weight as all of them is added, and rows are divided by their sum again: one without edges takes from itself alone.
    """
    share = together / np.diagonal(together)[:, None]
    rescaled = _BASE ** (share - _SHIFT) - _BASE**-_SHIFT
    np.fill_diagonal(rescaled, 0.0)
    edges = np.where(rescaled >= RESCALED_FROM, rescaled, 0.0)
    edges /= np.maximum(edges.sum(1, keepdims=True), np.finfo(float).tiny)
    graph = edges + np.eye(len(edges))
    return np.asarray(graph / graph.sum(1, keepdims=True), np.float32)


def vectors_of(together: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """Word vectors from the captions alone, (n, at most `width`) float32: concepts that go with the same ones are alike.

    together: (n, n), how many captions have both. Positive pointwise mutual information, then the singular vectors of the
    greatest values, each times the root of its value (Levy and Goldberg, 2014).
    """
    counts = together.astype(float)
    np.fill_diagonal(counts, 0.0)
    of_one = counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts * counts.sum() / np.outer(of_one, of_one))
    left, values, _ = np.linalg.svd(np.where(counts > 0, np.maximum(information, 0.0), 0.0))
    # A singular vector may point either way: its greatest entry is made positive.
    left *= np.where(left[np.abs(left).argmax(0), np.arange(len(left))] < 0, -1.0, 1.0)
    return np.ascontiguousarray((left * np.sqrt(values))[:, :width], np.float32)


@dataclass
class _Terms:
    """What captions have. A term is a kind and a key, and has a number in order of its first appearance.

    forms: of each term, how often it has each
    rows, columns: the caption and the term of each pair of a caption and a term in it
    """

    tagger: Tagger
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    forms: list[Counter[str]] = field(default_factory=list)
    rows: array[int] = field(default_factory=lambda: array("i"))
    columns: array[int] = field(default_factory=lambda: array("i"))

    def add(self, row: int, found: Iterable[Found]) -> None:
        """Take in what a caption has."""
        terms = set()
        for kind, key, form in found:
            term = self.numbers.setdefault((kind, key), len(self.forms))
            if term == len(self.forms):
                self.forms.append(Counter())
            self.forms[term][form] += 1
            terms.add(term)
        self.columns.extend(sorted(terms))
        self.rows.extend([row] * len(terms))


def _find(captions: Sequence[str], nltk_folder: Path, count: Callable[[int, int], None]) -> _Terms:
    terms = _Terms(tagger(nltk_folder))
    for row, found in enumerate(tagged(captions, nltk_folder, terms.tagger)):
        terms.add(row, found)
        if row % _PART == 0:
            count(row, len(captions))
    return terms


def tagged(captions: Sequence[str], nltk_folder: Path, here: Tagger) -> Iterator[list[Found]]:
    """What each caption has, in their order; of many captions in parallel processes. here: the folder's `tagger`"""
    parts = [captions[start : start + _PART] for start in range(0, len(captions), _PART)]
    splitter = splitter_for(nltk_folder)
    if len(parts) < _PARALLEL_FROM:
        yield from (list(here(splitter(caption))) for caption in captions)
        return
    with pool(cores(), _prepare, splitter.sentence_data, nltk_folder) as workers:
        for part in workers.map(_tag_part, parts):
            yield from part


_prepared: list[tuple[WordSplitter, Tagger]] = []  # of a worker process, which makes them once


def _prepare(sentence_data: str | None, nltk_folder: Path) -> None:
    _prepared.append((WordSplitter(sentence_data, nltk_folder), tagger(nltk_folder)))


def _tag_part(captions: Sequence[str]) -> list[list[Found]]:
    splitter, tag = _prepared[0]
    return [list(tag(splitter(caption))) for caption in captions]


def _choose(found: _Terms, settings: ConceptSettings, min_count: int) -> list[int]:
    """The numbers of the terms that are concepts: by kind, the most frequent first, then by the alphabet.

    A key of several kinds ("orange") is of the one that most captions have it in, and counts there alone.
    """
    captions = np.bincount(np.asarray(found.columns, np.int64), minlength=len(found.forms))
    order = {kind: place for place, kind in enumerate(KINDS)}
    kind_of: dict[str, tuple[int, str]] = {}
    for (kind, key), term in sorted(found.numbers.items(), key=lambda item: order[item[0][0]]):
        kind_of[key] = max(kind_of.get(key, (0, kind)), (int(captions[term]), kind), key=lambda pair: pair[0])
    wanted = {OBJECT: settings.objects, MOTION: settings.motions, PROPERTY: settings.properties}
    chosen: list[int] = []
    for kind, most in wanted.items():
        terms = [
            (-int(captions[term]), key, term)
            for (of, key), term in found.numbers.items()
            if of == kind == kind_of[key][1] and captions[term] >= min_count
        ]
        chosen += [term for _, _, term in sorted(terms)[:most]]
    return chosen


def _together(found: _Terms, chosen: Sequence[int]) -> np.ndarray:
    """How many captions have both of two concepts, (n, n) int64; on the diagonal, how many have the one."""
    place = np.full(len(found.forms), -1)
    place[list(chosen)] = np.arange(len(chosen))
    rows, columns = np.asarray(found.rows, np.int64), place[np.asarray(found.columns, np.int64)]
    rows, columns = rows[columns >= 0], columns[columns >= 0]
    together = np.zeros((len(chosen), len(chosen)), np.int64)
    for start in range(0, int(rows.max()) + 1, _BLOCK):
        first, last = np.searchsorted(rows, (start, start + _BLOCK))
        has = np.zeros((_BLOCK, len(chosen)), np.float32)
        has[rows[first:last] - start, columns[first:last]] = 1.0
        together += np.rint(has.T @ has).astype(np.int64)
    return together


def _looked_up(names: Sequence[str], forms: Sequence[Counter[str]], known: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n, width) float32: the vector of each concept's word, or of its most frequent form that has one; else 0."""
    width = len(next(iter(known.values())))
    vectors = np.zeros((len(names), width), np.float32)
    for row, (name, of) in enumerate(zip(names, forms, strict=True)):
        tried = (name, *sorted(of, key=lambda form: (-of[form], form)))
        vectors[row] = next((known[form] for form in tried if form in known), vectors[row])
    return vectors
