"""Works out a data set's error analysis from the ranks and best answers of its results; reads and writes no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from itrcore.data.captions import Image
from itrcore.protocols.annotations import Annotation
from itrcore.protocols.contract import BETWEEN
from itrcore.protocols.ranked import Ranked
from itrcore.report.analysis import agreement, groups, hubs
from itrcore.report.analysis.groups import Grouping, Rate
from itrcore.report.analysis.hubs import Hubness
from itrcore.report.leaderboard import Row
from itrcore.report.results import Entry

HUBS, EXAMPLES = 4, 4  # shown each way


@dataclass(frozen=True)
class Shown:
    """An image or caption of the split. caption: of an image its first; note: what is said of it"""

    image_id: int
    file_name: str | None
    caption: str
    note: str


@dataclass(frozen=True)
class Parted:
    """R@1 of each row in each group of queries. rates: of rows, then groups"""

    grouping: Grouping
    rates: list[list[Rate]]


@dataclass(frozen=True)
class Hubs:
    """The hubness of one direction.

    rows: of each row, of several seeds means and the greatest; chance: skewness and share never retrieved of random rankings
    largest: the items with the highest N_k, as means over the rows
    """

    side: str
    k: int
    queries: int
    items: int
    rows: list[Hubness]
    chance: tuple[float, float]
    largest: list[Shown]


@dataclass(frozen=True)
class Agreement:
    """Which queries of one direction the rows have wrong together.

    wrong: of each row, the share of queries in percent; also_wrong, kappa: (n_rows, n_rows), nan where there is no value
    missed: queries that no method gets; only: row → those that it alone gets; of methods, as ensembles are made of them
    """

    side: str
    queries: int
    wrong: list[float]
    also_wrong: np.ndarray
    kappa: np.ndarray
    methods: int
    missed: int
    missed_examples: list[Shown]
    only: dict[str, int]
    only_examples: list[Shown]


@dataclass(frozen=True)
class Unlabelled:
    """Queries of a run or ensemble whose best answer COCO does not have as right and an annotation has.

    asked: queries of which the annotation has positives; wrong: those of them whose best answer is wrong by COCO
    right: those of these whose best answer is right by the annotation
    """

    name: str
    features: str
    side: str
    annotation: str
    asked: int
    wrong: int
    right: int


@dataclass(frozen=True)
class Analysis:
    """The error analysis of one data set.

    agreement: empty with fewer than two rows; unlabelled: empty without annotations
    unlabelled_examples: side → queries of the first row's first result, each with its best answer
    """

    data: str
    rows: Sequence[Row]
    images: int
    captions: int
    parted: list[Parted]
    hubs: list[Hubs]
    agreement: list[Agreement]
    unlabelled: list[Unlabelled]
    unlabelled_examples: dict[str, list[tuple[Shown, Shown]]]


@dataclass(frozen=True)
class _Side:
    """What one direction has. right, found: of each result, in order; image: (n_queries,) the image of each query"""

    side: str
    ranks: np.ndarray  # (n_results, n_queries)
    found: list[np.ndarray]
    image: np.ndarray
    items: int

    @property
    def right(self) -> np.ndarray:
        """(n_results, n_queries) bool: whether the best answer is right."""
        right: np.ndarray = self.ranks == 1
        return right


def analyse(
    data: str,
    rows: Sequence[Row],
    ranked: Mapping[str, Ranked],
    images: Sequence[Image],
    kinds: Mapping[str, np.ndarray],
    annotations: Sequence[Annotation] = (),
) -> Analysis:
    """The analysis of a data set.

    rows: of its leaderboard; ranked: name of a run or ensemble → its ranks and best answers; images: of the test split, in order
    kinds: as in `groups.groupings`; annotations: what others have as right
    """
    texts = [caption for image in images for caption in image.captions]
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    results = [ranked[entry.name] for row in rows for entry in row.entries]
    sides = {
        "i2t": _Side(
            "i2t", np.stack([r.image_to_text for r in results]), [r.captions_found for r in results],
            np.arange(len(images)), len(texts),
        ),
        "t2i": _Side(
            "t2i", np.stack([r.text_to_image for r in results]), [r.images_found for r in results], image_of, len(images)
        ),
    }  # fmt: skip
    numbers = iter(range(len(results)))
    places = [[next(numbers) for _ in row.entries] for row in rows]
    show = _Show(images, texts, image_of)
    parted = [_parted(grouping, sides[grouping.side], places) for grouping in groups.groupings(texts, image_of, kinds)]
    unlabelled = [
        line
        for annotation in annotations
        for side in BETWEEN
        for line in _unlabelled(annotation, sides[side], [entry for row in rows for entry in row.entries])
    ]
    return Analysis(
        data, rows, len(images), len(texts), parted,
        [_hubs(sides[side], rows, places, show) for side in BETWEEN],
        [_agreement(sides[side], rows, places, show) for side in BETWEEN] if len(rows) > 1 else [],
        unlabelled,
        {side: _unlabelled_examples(annotations, sides[side], show) for side in BETWEEN if annotations},
    )  # fmt: skip


@dataclass(frozen=True)
class _Show:
    """Makes what is shown of an image or a caption from its place."""

    images: Sequence[Image]
    texts: Sequence[str]
    image_of: np.ndarray

    def __call__(self, side: str, place: int, note: str, query: bool = True) -> Shown:
        """side: the direction; query: whether it is a query of that direction, else an answer"""
        is_image = (side == "i2t") == query
        image = self.images[place if is_image else self.image_of[place]]
        return Shown(image.image_id, image.file_name, image.captions[0] if is_image else self.texts[place], note)


def _parted(grouping: Grouping, side: _Side, places: Sequence[Sequence[int]]) -> Parted:
    rates = []
    for row in places:
        right = side.right[list(row)].mean(axis=0)
        rates.append([groups.rate(right[group.members], side.image[group.members]) for group in grouping.groups])
    return Parted(grouping, rates)


def _hubs(side: _Side, rows: Sequence[Row], places: Sequence[Sequence[int]], show: _Show) -> Hubs:
    queries, k = side.found[0].shape
    counts = [[hubs.occurrences(side.found[place], side.items) for place in row] for row in places]
    of_rows = []
    for row in counts:
        seeds = [hubs.hubness(of_seed) for of_seed in row]
        of_rows.append(
            Hubness(
                fmean(seed.skewness for seed in seeds),
                fmean(seed.never for seed in seeds),
                max(seed.largest for seed in seeds),
            )
        )
    means = np.stack([np.mean(row, axis=0) for row in counts])  # (n_rows, n_items)
    together = means.mean(axis=0)
    largest = []
    for item in np.argsort(-together, kind="stable")[:HUBS].tolist():
        most = int(means[:, item].argmax())
        note = f"{together[item]:.0f} of {queries:,} queries, a mean over the rows; {means[most, item]:.0f} with {rows[most].name}"
        largest.append(show(side.side, item, note, query=False))
    return Hubs(side.side, k, queries, side.items, of_rows, hubs.by_chance(queries, k, side.items), largest)


def _agreement(side: _Side, rows: Sequence[Row], places: Sequence[Sequence[int]], show: _Show) -> Agreement:
    wrong = ~side.right
    of_methods = [number for number, row in enumerate(rows) if row.kind == "run"]
    flat = [place for number in of_methods for place in places[number]]
    numbers = iter(range(len(flat)))
    alone = agreement.only(wrong[flat], [[next(numbers) for _ in places[number]] for number in of_methods])
    medians = np.median(side.ranks[flat], axis=0) if flat else np.zeros(side.ranks.shape[1])
    missed = agreement.missed_by_all(wrong[flat]) if flat else np.array([], int)
    hardest = missed[np.argsort(-medians[missed], kind="stable")][:EXAMPLES].tolist()
    only_examples = []
    for number, queries in zip(of_methods, alone, strict=True):
        for query in queries[np.argsort(-medians[queries], kind="stable")][:1].tolist():
            note = f"only with {rows[number].name}; median rank {medians[query]:,g}"
            only_examples.append(show(side.side, query, note))
    return Agreement(
        side.side, side.ranks.shape[1],
        [float(100 * wrong[list(row)].mean()) for row in places],
        agreement.of_rows(agreement.also_wrong(wrong), places),
        agreement.of_rows(agreement.kappa(wrong), places),
        len(of_methods), len(missed),
        [show(side.side, query, f"median rank {medians[query]:,g}") for query in hardest],
        {rows[number].name: len(queries) for number, queries in zip(of_methods, alone, strict=True)},
        only_examples[:EXAMPLES],
    )  # fmt: skip


def _unlabelled(annotation: Annotation, side: _Side, entries: Sequence[Entry]) -> list[Unlabelled]:
    of_side = annotation.sides[side.side]
    asked = np.isin(np.arange(side.ranks.shape[1]), list(of_side.asked))
    lines = []
    for entry, right, found in zip(entries, side.right, side.found, strict=True):
        wrong = asked & ~right
        elsewhere = wrong & of_side.first_is_right(found[:, 0])
        numbers = (int(part.sum()) for part in (asked, wrong, elsewhere))
        lines.append(Unlabelled(entry.name, entry.evaluation.features, side.side, annotation.name, *numbers))
    return lines


def _unlabelled_examples(annotations: Sequence[Annotation], side: _Side, show: _Show) -> list[tuple[Shown, Shown]]:
    """Queries of the first result with their best answers, spread evenly over all such queries."""
    first, wrong = side.found[0][:, 0], ~side.right[0]
    elsewhere = [annotation.sides[side.side].first_is_right(first) for annotation in annotations]
    queries = np.flatnonzero(wrong & np.any(elsewhere, axis=0))
    chosen = queries[np.linspace(0, len(queries) - 1, min(EXAMPLES, len(queries))).astype(int)]
    pairs = []
    for query in chosen.tolist():
        answer = int(first[query])
        said = (annotation.says(side.side, query, answer) for annotation in annotations)
        note = ", ".join(words for words in said if words)
        pairs.append((show(side.side, query, ""), show(side.side, answer, note, query=False)))
    return pairs
