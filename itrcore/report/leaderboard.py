"""The leaderboard: runs that differ only in their seed become one row; rows as JSON and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from itrcore.protocols import contract
from itrcore.protocols.contract import BETWEEN, SIDES
from itrcore.registry import WHOLE_SPLIT
from itrcore.report import formats
from itrcore.report.noise import MARK, NEAR, Noise, legend, noise
from itrcore.report.published_figures import FIGURES, KINDS, Comparison, beside
from itrcore.report.results import NOT_REAL, Entry, Results, not_real
from itrcore.runs.records import Evaluation
from itrcore.settings.datasets import Benchmark
from itrcore.settings.methods import RECONSTRUCTED

COSTS = (
    "parameters", "train_seconds", "encode_image_ms", "encode_caption_ms", "score_image_ms", "score_caption_ms",
)  # fmt: skip


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
    """One line of a leaderboard: a method with a profile over its seeds, an imported run, or an ensemble."""

    data: str
    kind: str
    label: str  # the method's, the imported run's or the ensemble's name
    profile: str | None  # of a method; None for an imported run or an ensemble
    features: str
    entries: tuple[Entry, ...]  # by seed
    values: dict[str, Stat]  # what was not measured is absent
    published: Comparison | None  # of the means
    noise: Noise

    @property
    def name(self) -> str:
        """Unique in its data set: `method/profile`, or the imported run's or ensemble's name (which hold no slash)."""
        return self.label if self.kind == "ensemble" or self.imported else f"{self.label}/{self.profile}"

    @property
    def imported(self) -> bool:
        """Whether it is a run whose weights were trained elsewhere."""
        return self.entries[0].evaluation.imported

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
        return formats.NONE if value is None else column.format(value)

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


def _recall(value: Stat) -> str:
    return formats.recall(value.mean, value.std)


def _rank(value: Stat) -> str:
    return formats.rank(value.mean)


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

PUBLISHED = tuple(column for column in QUALITY if column.key in FIGURES)

COST = (
    Column("parameters", "model", "parameters", lambda value: formats.count(value.mean), lowest=True),
    Column("train_seconds", "model", "training time", lambda value: formats.duration(value.mean), lowest=True),
    Column("encode_image_ms", "encode", "per image", _milliseconds, lowest=True),
    Column("encode_caption_ms", "encode", "per caption", _milliseconds, lowest=True),
    Column("score_image_ms", "score one query", "image, all captions", _milliseconds, lowest=True),
    Column("score_caption_ms", "score one query", "caption, all images", _milliseconds, lowest=True),
)


def rows(results: Results, data: str, protocol: str = WHOLE_SPLIT) -> list[Row]:
    """The rows of one table with the figures of a protocol, which is one of its own, best first; equal ones by name.

    Best is the highest mean rsum; by a protocol without it, the highest sum of the means of its figures. How sure figures are
    is known of those of the whole split. `DataError` as `noise`.
    """
    groups: dict[tuple[str, str, str | None], list[Entry]] = {}
    for entry in results.of(data):
        evaluation = entry.evaluation
        # An imported run was trained elsewhere, with another recipe and seed: it is not one more seed of a run of ours.
        alone = evaluation.kind == "ensemble" or evaluation.imported
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
    if protocol != WHOLE_SPLIT:
        return board
    entries = tuple(tuple(entry.name for entry in row.entries) for row in board)
    return [replace(row, noise=of_row) for row, of_row in zip(board, noise(results, data, entries), strict=True)]


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
    for key in COSTS:
        costs = [getattr(entry.evaluation, key) for entry in entries]
        if None not in costs:
            values[key] = Stat.of(costs)
    first = entries[0].evaluation
    published = beside(first, benchmark, {key: value.mean for key, value in values.items()}, protocol)
    if RECONSTRUCTED in str(first.family):  # of an ensemble: in that of a member
        label += " (reconstruction)" if kind == "run" else " (with a reconstruction)"
    return Row(data, kind, label, profile, first.features, tuple(entries), values, published, Noise({}, {}))


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


def as_json(results: Results) -> dict[str, Any]:
    """`{data: {row: {metric: mean, …, "seeds": n, "std": {…}, "published": {…}}}}`, a DVC metrics file.

    The figures of more protocols stand there as `"protocols": {protocol: {metric: mean, …, "std": …, "published": …}}`.
    An imported run has no seeds; `published` stands where figures were published, with ours minus theirs and the source.
    `interval` and `p_against_best` hold what `Noise` has.
    """
    board: dict[str, Any] = {}
    for data in results.tables:
        board[data] = {}
        for row in rows(results, data):
            figures: dict[str, Any] = {key: value.mean for key, value in row.values.items()}
            if row.kind == "run" and not row.imported:
                figures["seeds"] = len(row.entries)
            interval = {key: {"low": low, "high": high} for key, (low, high) in row.noise.interval.items()}
            uncertain = {"interval": interval, "p_against_best": dict(row.noise.p)}
            board[data][row.name] = figures | uncertain | _beside_means(row, row.values)
            if row.collapsed:
                board[data][row.name]["collapsed"] = sum(entry.collapsed for entry in row.entries)
        for protocol in results.protocols.get(data, ()):
            for row in rows(results, data, protocol):
                own = {column.key: row.values[column.key] for column in quality(protocol) if column.key in row.values}
                means = {key: value.mean for key, value in own.items()}
                board[data][row.name].setdefault("protocols", {})[protocol] = means | _beside_means(row, own)
    return board


def _beside_means(row: Row, values: Mapping[str, Stat]) -> dict[str, Any]:
    """Deviations, and what was published, where there are any."""
    std = {key: value.std for key, value in values.items() if value.std is not None}
    return ({"std": std} if std else {}) | ({"published": asdict(row.published)} if row.published is not None else {})


def as_markdown(results: Results, title: str) -> str:
    """The leaderboard as GitHub-flavoured Markdown: per data set one table of quality and one of cost."""
    parts = [f"# {_markdown_text(title)}"]
    for data in results.tables:
        board = rows(results, data)
        first = board[0].entries[0].evaluation
        selected = formats.distinct(entry.evaluation.selected_on for entry in results.of(data))
        parts.append(f"## {_markdown_text(data)}")
        for kind in not_real(results.of(data)):
            parts.append(f"> **{kind.capitalize()} features.** {NOT_REAL[kind]}")
        parts.append(
            f"{_markdown_text(first.split)} split: {first.n_images} images, {first.n_captions} captions. "
            f"Models selected on: {_markdown_text(selected)}. R@1 of a random ranking: "
            f"{chance_text(first.n_images, first.n_captions)}."
        )
        parts.append(_markdown_table(board, QUALITY, uncertain=True))
        parts.append(f"{'. '.join(board_legend(board))}.")
        parts += _markdown_beside(board)
        parts.append(_markdown_table(board, COST))
        for protocol in results.protocols.get(data, ()):
            described, board = contract.protocol(protocol), rows(results, data, protocol)
            parts.append(f"### {_markdown_text(described.title)}")
            parts += [_markdown_text(described.note)] if described.note else []
            parts += [_markdown_table(board, quality(protocol)), *_markdown_beside(board)]
    if not results.entries:
        parts.append("No run is configured.")
    return "\n\n".join(parts) + "\n"


def board_legend(board: Sequence[Row], interval: bool = True) -> list[str]:
    """What stands below a table of these rows, with their intervals or without."""
    return legend(any(len(row.entries) > 1 for row in board), any(row.noise.near_best() for row in board), interval)


def _markdown_table(board: Iterable[Row], columns: tuple[Column, ...], uncertain: bool = False) -> str:
    headings = ["method", "profile", "features", "seeds"]
    headings += [_long_heading(column) for column in columns]
    headings += ["rsum 95 %", "against the best"] * uncertain
    lines = [headings, ["---"] * 4 + ["--:"] * len(columns) + ["--:", "---"] * uncertain]
    for row in board:
        texts = (_row_label(row), row.profile or formats.NONE, row.features, _seeds(row))
        mark = f"{MARK} {NEAR}" if row.noise.near_best() else formats.NONE
        more = [row.interval("rsum"), mark] if uncertain else []
        lines.append([_markdown_text(text) for text in texts] + [row.cell(column) for column in columns] + more)
    return _markdown_lines(lines)


def _markdown_beside(board: list[Row]) -> list[str]:
    if not any(row.published for row in board):
        return []
    return ["Published figures, and in brackets ours minus published:", _markdown_published(board)]


def _markdown_published(board: Iterable[Row]) -> str:
    lines = [["beside", "published for", *(_long_heading(column) for column in PUBLISHED), "source"]]
    lines.append(["---"] * 2 + ["--:"] * len(PUBLISHED) + ["---"])
    for row in board:
        if row.published is not None:
            cells = [row.published_cells(column) for column in PUBLISHED]
            shown = [figure if figure == formats.NONE else f"{figure} ({difference})" for figure, difference in cells]
            names = [_markdown_text(text) for text in (row.name, KINDS[row.published.kind])]
            lines.append([*names, *shown, _markdown_text(row.published.source)])
    return _markdown_lines(lines)


def _long_heading(column: Column) -> str:
    return column.heading if column.key == "rsum" or column.group == "model" else f"{column.group} {column.heading}"


def _markdown_lines(lines: Iterable[Iterable[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markdown_text(text: str) -> str:
    """`text` as literal Markdown that stays in its table cell."""
    return re.sub(r"([\\`*\[\]|<>&#])", r"\\\1", " ".join(text.split()))


def _row_label(row: Row) -> str:
    """What a row is called in a table, and whether its training collapsed."""
    if row.collapsed:
        return f"{row.label} ({row.collapsed})"
    if row.kind == "ensemble":
        return f"{row.label} (ensemble of {len(row.entries[0].evaluation.members)})"
    return f"{row.label} ({row.entries[0].evaluation.method})" if row.imported else row.label


def _seeds(row: Row) -> str:
    """How many seeds, and which: `2 (1, 2)`; `imported` where another program trained it."""
    if row.kind == "ensemble":
        return formats.NONE
    if row.imported:
        return "imported"
    return f"{len(row.entries)} ({', '.join(str(entry.evaluation.seed) for entry in row.entries)})"
