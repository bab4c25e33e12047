"""Two results on one data set beside each other: what differs, whether beyond noise, and the queries that only one of them gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from itrcore import layout
from itrcore.data import captions
from itrcore.data.captions import Image
from itrcore.errors import ConfigError, DataError, unknown
from itrcore.protocols.uncertainty import FIGURES, LEVEL, Outcomes, intervals, p_values
from itrcore.report import formats
from itrcore.report.leaderboard import DIRECTIONS, PUBLISHED
from itrcore.report.ranked import read_ranks
from itrcore.report.results import NOT_REAL
from itrcore.runs.folder import METRICS, SPLIT, read
from itrcore.runs.records import Evaluation
from itrcore.settings.params import Params


@dataclass(frozen=True)
class Figure:
    """One figure of both, in percent points; low, high: 95 % interval of the difference; p: that they do not differ."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Query:
    """A query that one of both has at rank 1: an image with its first caption, or a caption with its image. rank: the other's."""

    image_id: int
    file_name: str | None
    caption: str
    rank: int


@dataclass(frozen=True)
class Alone:
    """The queries that one of both has at rank 1 and the other has not; examples: those that the other ranks worst."""

    count: int
    examples: tuple[Query, ...]


@dataclass(frozen=True)
class Compared:
    """figures: by name of `FIGURES`; only: direction (`i2t`, `t2i`) → `a` and `b` → the queries that it alone gets."""

    a: str
    b: str
    data: str
    features: str
    n_images: int
    n_captions: int
    figures: dict[str, Figure]
    only: dict[str, dict[str, Alone]]


def compare(params: Params, a: str, b: str, examples: int = 3, root: Path = Path(".")) -> Compared:
    """Compare two runs or ensembles of params.yaml by their ranks on test.

    `ConfigError` for an unknown name; `DataError` where they are on different data, one is not judged, or a file is damaged.
    """
    first, second = (_evaluation(params, name, root) for name in (a, b))
    if first.data != second.data:
        raise DataError(f"{a} is on {first.data} and {b} on {second.data}; expected two results on one data set")
    if first.data_digest != second.data_digest:
        raise DataError(f"{a} and {b} were evaluated on different states of {first.data}; run dvc repro to renew them")
    (compared,) = compare_each(first, [second], examples, root)
    return compared


def compare_each(first: Evaluation, others: Sequence[Evaluation], examples: int, root: Path) -> list[Compared]:
    """Compare `first` with each of `others`, at least one, all on the same state of one data set; errors as of `read_ranks`."""
    images = captions.read(root / layout.captions(first.data), SPLIT)
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    asked = {"i2t": np.arange(len(images)), "t2i": image_of}  # the image of each query
    texts = {
        "i2t": [image.captions[0] for image in images],
        "t2i": [caption for image in images for caption in image.captions],
    }
    ranks_a, *ranks_b = (read_ranks(root, evaluation, image_of) for evaluation in (first, *others))
    of_a, *of_b = (Outcomes.of(ranks, image_of) for ranks in (ranks_a, *ranks_b))
    differences = [of_a - each for each in of_b]
    sure = zip(differences, intervals(differences), p_values(differences), strict=True)
    every = []
    for other, ranks, hits, (difference, spans, p) in zip(others, ranks_b, of_b, sure, strict=True):
        a, b, between = (each.figures() for each in (of_a, hits, difference))
        figures = {key: Figure(a[key], b[key], between[key], *spans[key], p[key]) for key in FIGURES}
        only = {}
        for key, side in {"i2t": "image_to_text", "t2i": "text_to_image"}.items():
            mine, theirs = getattr(ranks_a, side), getattr(ranks, side)
            query = (asked[key], texts[key], images, examples)
            only[key] = {"a": _alone(mine, theirs, *query), "b": _alone(theirs, mine, *query)}
        features = formats.distinct((first.features, other.features))
        every.append(Compared(first.name, other.name, first.data, features, len(images), len(image_of), figures, only))
    return every


def _evaluation(params: Params, name: str, root: Path) -> Evaluation:
    for problem in unknown("params.yaml", name, {**params.runs, **params.ensembles}, "runs and ensembles"):
        raise ConfigError(problem)
    is_run = name in params.runs
    data = params.run(name).data if is_run else params.ensemble(name).data
    stage = f"judge@{name}" if is_run else f"ensemble@{name}"
    return read(root / layout.result(data, name) / METRICS, Evaluation, stage)


def _alone(
    mine: np.ndarray,
    others: np.ndarray,
    image_of: np.ndarray,
    texts: Sequence[str],
    images: Sequence[Image],
    count: int,
) -> Alone:
    alone = np.flatnonzero((mine == 1) & (others > 1))
    worst = alone[np.argsort(-others[alone], kind="stable")][:count]
    asked = [(images[image_of[query]], texts[query], int(others[query])) for query in worst.tolist()]
    return Alone(len(alone), tuple(Query(image.image_id, image.file_name, text, rank) for image, text, rank in asked))


def print_comparison(compared: Compared, console: Console) -> None:
    """Print the figures as a table, what its columns mean, and the queries that only one of both gets."""
    title = (
        f"{compared.data}: test, {compared.n_images:,} images, {compared.n_captions:,} captions, {compared.features}"
    )
    table = Table(title=Text(f"{title}\nA {compared.a}\nB {compared.b}"), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for heading in ("A", "B", "A − B", f"{LEVEL} %", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column in PUBLISHED:
        figure = compared.figures[column.key]
        table.add_row(
            column.heading if column.key == "rsum" else f"{column.group} {column.heading}",
            formats.recall(figure.a),
            formats.recall(figure.b),
            formats.difference(figure.difference),
            formats.difference_interval(figure.low, figure.high),
            formats.p_value(figure.p),
        )
    console.print(table)
    console.print(
        f" {LEVEL} %: paired bootstrap over images; p: paired permutation test over images.\n"
        " They speak of these two results: another seed may differ by more.\n"
    )
    for key, sides in compared.only.items():
        what = "images" if key == "i2t" else "captions"
        counts = f"with A alone {sides['a'].count:,} {what}, with B alone {sides['b'].count:,}"
        console.print(Text(f" {DIRECTIONS[key]}, rank 1: {counts}"))
        examples = Table(box=None, padding=(0, 2, 0, 1))
        examples.add_column("right", no_wrap=True)
        examples.add_column("rank with other", justify="right", min_width=5)
        examples.add_column("image", justify="right", no_wrap=True)
        examples.add_column("caption")
        for name, alone in sides.items():
            for query in alone.examples:
                examples.add_row(name.upper(), f"{query.rank:,}", str(query.image_id), Text(query.caption))
        console.print(examples if examples.rows else "")
    for kind in NOT_REAL.keys() & set(compared.features.split(", ")):
        console.print(Text(NOT_REAL[kind], style="yellow"))
