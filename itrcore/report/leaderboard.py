"""The leaderboard: runs that differ only in their seed become one row; rows as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from itrcore.protocols import contract
from itrcore.protocols.contract import BETWEEN, SIDES
from itrcore.registry import WHOLE_SPLIT
from itrcore.report import formats
from itrcore.report.noise import TO_BEST, Noise, legend, noise
from itrcore.report.published_figures import FIGURES, Comparison, beside
from itrcore.report.references import Reference, references
from itrcore.report.results import Entry, Results
from itrcore.runs.records import Evaluation
from itrcore.settings.datasets import Benchmark
from itrcore.settings.evaluation import GALLERIES
from itrcore.settings.methods import RECONSTRUCTED

_TIMES = ("train_seconds", "encode_image_ms", "encode_caption_ms", "score_image_ms", "score_caption_ms")
COSTS = (
    "parameters", *_TIMES, *(f"search_{size}_ms" for size in GALLERIES), "image_bytes", "caption_bytes",
    *(f"gallery_{size}_bytes" for size in GALLERIES),
)  # fmt: skip
EXTRAPOLATED = "†"


@dataclass(frozen=True)
class Stat:
    """Mean over seeds and sample standard deviation (n - 1); no deviation for a single value."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: list[float]) -> Stat:
        """`values`: at least one."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Row:
    """One line of a leaderboard: a method with a profile over its seeds, a run from elsewhere, or an ensemble."""

    data: str
    kind: str
    label: str  # the method's, the ensemble's, or that of the run from elsewhere
    profile: str | None  # of a method; None for the others
    features: str
    entries: tuple[Entry, ...]  # by seed
    values: dict[str, Stat]  # what was not measured is absent
    published: Comparison | None  # of the means
    noise: Noise
    extrapolated: frozenset[str]  # of `values`, those that were not measured for every seed

    @property
    def name(self) -> str:
        """Unique in its data set: `method/profile`, or the name of an ensemble or a run from elsewhere (which hold no slash)."""
        return self.label if self.kind == "ensemble" or self.elsewhere else f"{self.label}/{self.profile}"

    @property
    def elsewhere(self) -> str:
        """As `Measured.elsewhere`."""
        return self.entries[0].evaluation.elsewhere

    @property
    def collapsed(self) -> str:
        """`collapsed`, `1 of 3 collapsed` where it has several seeds; empty where no training ended so."""
        count = sum(entry.collapsed for entry in self.entries)
        of = f"{count} of {len(self.entries)} " if len(self.entries) > 1 else ""
        return f"{of}collapsed" if count else ""

    def interval(self, key: str) -> str:
        """The interval of one of `uncertainty.FIGURES`, as text."""
        return formats.interval(*self.noise.interval[key])

    def cell(self, column: Column) -> str:
        """The text of one cell."""
        value = self.values.get(column.key)
        mark = f" {EXTRAPOLATED}" if column.key in self.extrapolated else ""
        return formats.NONE if value is None else f"{column.format(value)}{mark}"

    def published_cells(self, column: Column) -> tuple[str, str]:
        """The published figure of a column and ours minus it."""
        return published_cells(self.published, column.key)


@dataclass(frozen=True)
class Column:
    """A column of figures: the key of its value, its heading below that of `group`, how a value is written.

    lowest: whether the lowest value is the best
    """

    key: str
    group: str
    heading: str
    format: Callable[[Stat], str]
    lowest: bool = False


def published_cells(comparison: Comparison | None, key: str) -> tuple[str, str]:
    """A published figure and ours minus it, as texts."""
    if comparison is None or key not in comparison.figures:
        return formats.NONE, formats.NONE
    return formats.recall(comparison.figures[key]), formats.difference(comparison.difference[key])


def reference_cell(reference: Reference, column: Column) -> str:
    """The text of one cell of a reference row."""
    value = reference.figures.get(column.key)
    return formats.NONE if value is None else column.format(Stat(value, None))


def _recall(value: Stat) -> str:
    return formats.recall(value.mean, value.std)


def _rank(value: Stat) -> str:
    return formats.rank(value.mean)


def _size(value: Stat) -> str:
    return formats.size(value.mean)


def _milliseconds(value: Stat) -> str:
    return formats.milliseconds(value.mean)


DIRECTIONS = {side: SIDES[side] for side in BETWEEN}


def quality(protocol: str = WHOLE_SPLIT) -> tuple[Column, ...]:
    """The columns of a protocol's table."""
    return tuple(
        Column(
            figure.key,
            figure.group,
            figure.heading,
            _rank if figure.kind in ("rank", "count") else _recall,
            lowest=figure.kind != "percent",
        )
        for figure in contract.protocol(protocol).figures
    )


QUALITY = quality()

BEHIND = Column(TO_BEST, "both", "to the best", lambda value: formats.difference(value.mean))

PUBLISHED = tuple(column for column in QUALITY if column.key in FIGURES)

COST = (
    Column("parameters", "model", "parameters", lambda value: formats.count(value.mean), lowest=True),
    Column("train_seconds", "model", "training time", lambda value: formats.duration(value.mean), lowest=True),
    Column("encode_image_ms", "encode", "per image", _milliseconds, lowest=True),
    Column("encode_caption_ms", "encode", "per caption", _milliseconds, lowest=True),
    *(
        Column(f"search_{size}_ms", "one caption's search", f"{size:,} images", _milliseconds, lowest=True)
        for size in GALLERIES
    ),
    Column("caption_bytes", "memory", "a caption", _size, lowest=True),
    Column("image_bytes", "memory", "an image", _size, lowest=True),
    Column(f"gallery_{GALLERIES[-1]}_bytes", "memory", f"{GALLERIES[-1]:,} images", _size, lowest=True),
)


def rows(results: Results, data: str, protocol: str = WHOLE_SPLIT) -> list[Row]:
    """The rows of one table with the figures of a protocol, which is one of its own, best first; equal ones by name.

    Best is the highest mean rsum; by a protocol without it, the highest sum of the means of its figures. `DataError` as `noise`.
    """
    groups: dict[tuple[str, str, str | None], list[Entry]] = {}
    for entry in results.of(data):
        evaluation = entry.evaluation
        # A run that was trained elsewhere, with another recipe and seed, is not one more seed of a run of ours.
        alone = evaluation.kind == "ensemble" or bool(evaluation.elsewhere)
        key = (
            (evaluation.kind, evaluation.name, None)
            if alone
            else (evaluation.kind, str(evaluation.method), evaluation.profile)
        )
        groups.setdefault(key, []).append(entry)
    board = [_row(data, *key, entries, results.benchmarks.get(data), protocol) for key, entries in groups.items()]
    best = [column.key for column in quality(protocol) if not column.lowest]
    best = ["rsum"] if "rsum" in best else best
    board.sort(key=lambda row: (-sum(row.values[key].mean for key in best if key in row.values), row.name))
    entries = tuple(tuple(entry.name for entry in row.entries) for row in board)
    sure = noise(results, data, entries, protocol)
    if protocol != WHOLE_SPLIT:
        return [replace(row, noise=of_row) for row, of_row in zip(board, sure, strict=True)]
    highest = next(row for row, of_row in zip(board, sure, strict=True) if TO_BEST not in of_row.interval)
    return [
        replace(row, noise=of_row, values=row.values | _to_best(row, highest))
        for row, of_row in zip(board, sure, strict=True)
    ]


def _to_best(row: Row, highest: Row) -> dict[str, Stat]:
    difference = row.values["rsum"].mean - highest.values["rsum"].mean
    return {} if row is highest else {TO_BEST: Stat(difference, None)}


def _row(
    data: str,
    kind: str,
    label: str,
    profile: str | None,
    entries: list[Entry],
    benchmark: Benchmark | None,
    protocol: str,
) -> Row:
    entries = sorted(entries, key=lambda entry: (entry.evaluation.seed or 0, entry.name))
    figures = [figures_of(entry.evaluation, protocol) for entry in entries]
    had = [key for key in figures[0] if all(key in of_entry for of_entry in figures)]
    values = {key: Stat.of([of_entry[key] for of_entry in figures]) for key in had}
    costs = [costs_of(entry.evaluation) for entry in entries]
    values |= {key: Stat.of([of[key] for of in costs]) for key in COSTS if all(key in of for of in costs)}
    extrapolated = frozenset(key for entry in entries for key in extrapolated_of(entry.evaluation))
    first = entries[0].evaluation
    published = beside(first, benchmark, {key: value.mean for key, value in values.items()}, protocol)
    if RECONSTRUCTED in str(first.family):  # of an ensemble: in that of a member
        label += " (reconstruction)" if kind == "run" else " (with a reconstruction)"
    return Row(
        data, kind, label, profile, first.features, tuple(entries), values, published, Noise({}, {}), extrapolated
    )


def costs_of(evaluation: Evaluation) -> dict[str, float]:
    """Those of `COSTS` that are known, by key."""
    found = {key: getattr(evaluation, key) for key in ("parameters", *_TIMES)}
    found |= evaluation.efficiency.figures if evaluation.efficiency is not None else {}
    return {key: value for key, value in found.items() if value is not None}


def extrapolated_of(evaluation: Evaluation) -> set[str]:
    """Those of `costs_of` that were not measured."""
    return set() if evaluation.efficiency is None else evaluation.efficiency.extrapolated


def cost_cells(evaluation: Evaluation) -> dict[str, str]:
    """What the columns of `COST` say of one run or ensemble, where something is known: heading → text."""
    known, beyond = costs_of(evaluation), extrapolated_of(evaluation)
    return {
        column.heading if column.group == "model" else f"{column.group}: {column.heading}": column.format(
            Stat(known[column.key], None)
        )
        + (f" {EXTRAPOLATED} extrapolated" if column.key in beyond else "")
        for column in COST
        if column.key in known
    }


def figures_of(evaluation: Evaluation, protocol: str) -> dict[str, float]:
    """An evaluation's figures by a protocol, by key."""
    return evaluation.metrics.model_dump() if protocol == WHOLE_SPLIT else evaluation.protocols[protocol]


def chance_r1(n_images: int, n_captions: int) -> dict[str, float]:
    """Expected R@1 of a random ranking, in percent, for `i2t` and `t2i`.

    Image → text: an image has n_captions / n_images right captions on average among n_captions, so one in n_images.
    Text → image: one right image among n_images.
    """
    return {"i2t": 100.0 * (n_captions / n_images) / n_captions, "t2i": 100.0 / n_images}


def chance_text(n_images: int, n_captions: int) -> str:
    """`image → text 0.67 %, text → image 0.67 %`."""
    chance = chance_r1(n_images, n_captions)
    return ", ".join(f"{DIRECTIONS[short]} {value:.2g} %" for short, value in chance.items())


def as_json(results: Results, with_references: bool = False) -> dict[str, Any]:
    """`{data: {row: {metric: mean, …, "seeds": n, "std": {…}, "published": {…}}}}`, a DVC metrics file.

    The figures of more protocols stand there as `"protocols": {protocol: {metric: mean, …, "std": …, "published": …}}`.
    A run that was trained elsewhere has no seeds; `published` stands where figures were published, with ours minus theirs and the
    source.
    `interval` and `p_against_best` hold what `Noise` has, `extrapolated` the names of figures that were not measured.
    with_references: reference rows come last and have a `reference`, their source; of a protocol beside the split it stands among
    that protocol's figures.
    """
    board: dict[str, Any] = {}
    for data in results.tables:
        board[data] = {}
        for row in rows(results, data):
            figures: dict[str, Any] = {key: value.mean for key, value in row.values.items()}
            if row.kind == "run" and not row.elsewhere:
                figures["seeds"] = len(row.entries)
            board[data][row.name] = figures | _uncertain(row) | _beside_means(row, row.values)
            if row.extrapolated:
                board[data][row.name]["extrapolated"] = sorted(row.extrapolated)
            if row.collapsed:
                board[data][row.name]["collapsed"] = sum(entry.collapsed for entry in row.entries)
        for protocol in results.protocols.get(data, ()):
            for row in rows(results, data, protocol):
                own = {column.key: row.values[column.key] for column in quality(protocol) if column.key in row.values}
                means = {key: value.mean for key, value in own.items()}
                board[data][row.name].setdefault("protocols", {})[protocol] = (
                    means | (_uncertain(row) if row.noise.interval else {}) | _beside_means(row, own)
                )
        for protocol in (WHOLE_SPLIT, *results.protocols.get(data, ())) if with_references else ():
            for reference in references(results, data, protocol):
                record = board[data].setdefault(reference.name, {})
                if protocol != WHOLE_SPLIT:
                    record = record.setdefault("protocols", {}).setdefault(protocol, {})
                record |= {"reference": reference.source, **reference.figures}
    return board


def _uncertain(row: Row) -> dict[str, Any]:
    interval = {key: {"low": low, "high": high} for key, (low, high) in row.noise.interval.items()}
    return {"interval": interval, "p_against_best": dict(row.noise.p)}


def _beside_means(row: Row, values: Mapping[str, Stat]) -> dict[str, Any]:
    """Deviations, and what was published, where there are any."""
    std = {key: value.std for key, value in values.items() if value.std is not None}
    return ({"std": std} if std else {}) | ({"published": asdict(row.published)} if row.published is not None else {})


def board_legend(board: Sequence[Row], interval: bool = True) -> list[str]:
    """What stands below a table of these rows, with their intervals or without."""
    return legend(any(len(row.entries) > 1 for row in board), any(row.noise.near_best() for row in board), interval)


def cost_legend(board: Sequence[Row]) -> list[str]:
    """What stands below a table of these rows' costs."""
    found = [entry.evaluation.efficiency for row in board for entry in row.entries]
    where = "; ".join(dict.fromkeys(f"{one.device}, threads: {one.threads}" for one in found if one is not None))
    lines = [f"Search: one encoded caption among encoded images ({where})"] if any(found) else []
    if any(row.kind == "ensemble" and row.values.keys() & {"image_bytes"} for row in board):
        lines.append("An ensemble's times, memory and parameters are the sums of its members'")
    if any(row.extrapolated for row in board):
        lines.append(f"{EXTRAPOLATED}: not measured, but extrapolated from smaller galleries")
    return lines
