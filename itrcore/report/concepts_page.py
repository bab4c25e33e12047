"""The page of a data set's concepts: their graph as one picture, and a table of what each goes with.

The picture is SVG without a script. Its places are computed here, from the same start each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment

from itrcore.data.concepts.concepts import KINDS, Concepts
from itrcore.report import pages
from itrcore.report.formats import DIGEST_SHOWN

_TAGGERS: Mapping[str, str] = {"nltk": "nltk's perceptron tagger and WordNet", "rules": "this project's rules"}
_SOURCES: Mapping[str, str] = {"glove": "GloVe", "captions": "the captions themselves"}

_LISTED = 5  # edges and neighbours of a concept in the table and on hover
_DRAWN = 2  # edges of a concept in the picture: all would hide it
_STEPS, _APART = 100, 200  # of the layout, and at most of moving words apart
_ASPECT = 1.6  # width to height
_LETTER, _LINE = 0.62, 1.15  # width of a letter and height of a line, of the size of the letters
_SMALLEST, _LARGEST = 11.0, 22.0  # size of letters, in units of the picture
_ROOM = 3.2  # area of the picture to that of all words


@dataclass(frozen=True)
class Tie:
    """Another concept, and how strong the tie to it is, from 0 to 1."""

    word: str
    weight: float


@dataclass(frozen=True)
class Node:
    """A concept. edges: the strongest of the graph, each as the share of all of its edges; alike: the most similar vectors

    x, y: the middle of its word in the picture; size: of the letters
    """

    word: str
    kind: str
    count: int
    edges: list[Tie]
    alike: list[Tie]
    x: str
    y: str
    size: str


@dataclass(frozen=True)
class Line:
    """An edge in the picture. strong: its weight, as the opacity of the line"""

    x1: str
    y1: str
    x2: str
    y2: str
    strong: str


@dataclass(frozen=True)
class Drawn:
    """The picture's size, its edges and its concepts."""

    width: int
    height: int
    lines: list[Line]
    nodes: list[Node]


def write(environment: Environment, path: Path, data: str, concepts: Concepts) -> None:
    """Write the page, in a folder of the report."""
    facts = {
        "Concepts": concepts.numbers,
        "Found in": "captions of train alone",
        "Parts of speech by": _TAGGERS[concepts.tagger],
        "Vectors from": _SOURCES[concepts.source],
        "Digest": concepts.digest[:DIGEST_SHOWN],
    }
    pages.write(
        environment, path, "concepts.html", "../", data=data, facts=facts, kinds=KINDS, drawn=drawn(concepts), banner={}
    )


def drawn(concepts: Concepts) -> Drawn:
    """What the page shows of the concepts; the same for the same concepts."""
    edges = concepts.graph.astype(float)
    np.fill_diagonal(edges, 0.0)
    edges /= np.maximum(edges.sum(1, keepdims=True), np.finfo(float).tiny)
    pairs = _strongest(edges)
    sizes = _sizes(concepts.counts)
    boxes = np.stack([sizes * _LETTER * [len(word) for word in concepts.words] + sizes * 0.5, sizes * _LINE], 1)
    places, (width, height) = _layout(len(concepts), pairs, boxes)
    alike = _cosines(concepts.vectors)
    nodes = [
        Node(
            word,
            concepts.kinds[i],
            int(concepts.counts[i]),
            _ties(concepts, edges[i]),
            _ties(concepts, alike[i]),
            f"{places[i, 0]:.1f}",
            f"{places[i, 1]:.1f}",
            f"{sizes[i]:.1f}",
        )
        for i, word in enumerate(concepts.words)
    ]
    lines = []
    for i, j in pairs:
        x1, y1, x2, y2 = (f"{value:.1f}" for value in (*places[i], *places[j]))
        lines.append(Line(x1, y1, x2, y2, f"{0.25 + 0.6 * edges[i, j]:.2f}"))
    return Drawn(round(width), round(height), lines, nodes)


def _strongest(edges: np.ndarray) -> list[tuple[int, int]]:
    """The pairs that are drawn: of each concept the strongest edges, each pair once."""
    order = np.argsort(-edges, 1, kind="stable")[:, :_DRAWN]
    pairs = {tuple(sorted((i, int(j)))): None for i, row in enumerate(order) for j in row if edges[i, j] > 0}
    return list(pairs)  # type: ignore[arg-type]


def _ties(concepts: Concepts, weights: np.ndarray) -> list[Tie]:
    order = np.argsort(-weights, kind="stable")[:_LISTED]
    return [Tie(concepts.words[j], float(weights[j])) for j in order if weights[j] > 0]


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """(n, n), 0 of a concept with itself and of one without a vector."""
    unit = vectors.astype(float) / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    cosines: np.ndarray = unit @ unit.T
    np.fill_diagonal(cosines, 0.0)
    return cosines


def _sizes(counts: np.ndarray) -> np.ndarray:
    """Sizes of letters, by the logarithm of the counts."""
    logs = np.log(np.maximum(counts, 1))
    span = max(float(np.ptp(logs)), 1e-9)
    return np.asarray(_SMALLEST + (_LARGEST - _SMALLEST) * (logs - logs.min()) / span)


def _layout(n: int, pairs: list[tuple[int, int]], boxes: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """The middle of each word, (n, 2), and width and height of the picture. boxes: (n, 2), room that each word takes

    Words push each other away, edges pull (Fruchterman and Reingold, 1991). They start on a spiral, the most frequent of each
    kind further in. Then words that lie on each other are moved apart.
    """
    area = float(boxes.prod(1).sum()) * _ROOM
    shape = np.array([(area * _ASPECT) ** 0.5, (area / _ASPECT) ** 0.5])
    turn = np.arange(n) * np.pi * (3 - 5**0.5)
    places = 0.45 * np.sqrt((np.arange(n) + 0.5) / n)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1) * shape
    ideal = (area / n) ** 0.5
    ends = np.array(pairs, int).reshape(-1, 2)
    pull = np.zeros((n, n))
    pull[ends[:, 0], ends[:, 1]] = pull[ends[:, 1], ends[:, 0]] = 1.0
    pull /= np.sqrt(np.maximum(pull.sum(1), 1.0))[:, None] * np.sqrt(
        np.maximum(pull.sum(0), 1.0)
    )  # or all lie around "man"
    for step in range(_STEPS):
        x, y = places.T
        apart = x[:, None] - x, y[:, None] - y
        squared = np.maximum(apart[0] ** 2 + apart[1] ** 2, 1e-6)
        force = ideal**3 / (4 * squared * np.sqrt(squared)) - 0.75 * pull
        moved = np.stack([(part * force).sum(1) for part in apart], 1) - 0.08 * places
        length = np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
        places += moved / length * np.minimum(length, ideal * (1 - step / _STEPS))
    places = _spread(places, shape)
    for _ in range(_APART):
        before, places = places, _moved_apart(places, boxes)
        if np.array_equal(before, places):
            break
    low, high = (places - boxes / 2).min(0), (places + boxes / 2).max(0)
    return places - low + 8, tuple(high - low + 16)


def _spread(places: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The picture filled evenly: halfway to each one's rank from left to right and from top to bottom."""
    ranks = places.argsort(0, kind="stable").argsort(0, kind="stable") / max(len(places) - 1, 1) - 0.5
    low, span = places.min(0), np.maximum(np.ptp(places, axis=0), 1e-9)
    return np.asarray((((places - low) / span - 0.5) + ranks) / 2 * shape)


def _moved_apart(places: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Words that lie on each other, each moved by a part of what is missing, in the direction where less is."""
    apart = [part[:, None] - part for part in places.T]
    missing = [(part[:, None] + part) / 2 - np.abs(away) for part, away in zip(boxes.T, apart, strict=True)]
    overlap = (missing[0] > 0) & (missing[1] > 0)
    np.fill_diagonal(overlap, False)
    first, second = np.nonzero(overlap)
    moved = places.copy()
    for axis in (0, 1):
        chosen = (missing[0] < missing[1])[first, second] == (axis == 0)
        one, other = first[chosen], second[chosen]
        # Of two in one place, the first goes to the left or up.
        direction = np.where(apart[axis][one, other] == 0, np.sign(one - other), np.sign(apart[axis][one, other]))
        np.add.at(moved[:, axis], one, 0.35 * direction * (missing[axis][one, other] + 0.1))
    return moved
