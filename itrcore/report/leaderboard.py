"""The leaderboard: runs that differ only in their seed become one row; rows as JSON, Markdown and a terminal table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from itrcore.report import formats
from itrcore.report.results import NOT_REAL, Entry, Metrics, Results

METRICS = tuple(Metrics.model_fields)
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
    """One line of a leaderboard: a method with a profile over its seeds, or an ensemble."""

    data: str
    kind: str
    label: str  # the method's or the ensemble's name
    profile: str | None
    features: str
    entries: tuple[Entry, ...]  # by seed
    values: dict[str, Stat]  # what was not measured is absent

    @property
    def name(self) -> str:
        """Unique in its data set: `method/profile`, or the ensemble's name (which holds no slash)."""
        return self.label if self.profile is None else f"{self.label}/{self.profile}"

    def cell(self, column: Column) -> str:
        """The text of one cell."""
        value = self.values.get(column.key)
        return formats.NONE if value is None else column.format(value)


@dataclass(frozen=True)
class Column:
    """A column of figures: where its value is found, its heading below `group`, how a value is written."""

    key: str
    group: str
    heading: str
    format: Callable[[Stat], str]


def _recall(value: Stat) -> str:
    return formats.recall(value.mean, value.std)


def _rank(value: Stat) -> str:
    return formats.rank(value.mean)


def _milliseconds(value: Stat) -> str:
    return formats.milliseconds(value.mean)


DIRECTIONS = {"i2t": "image → text", "t2i": "text → image"}

_SIDE = (
    ("r1", "R@1", _recall),
    ("r5", "R@5", _recall),
    ("r10", "R@10", _recall),
    ("median", "median rank", _rank),
    ("mean", "mean rank", _rank),
)
QUALITY = (
    *(
        Column(f"{side}_{key}", name, heading, write)
        for side, name in DIRECTIONS.items()
        for key, heading, write in _SIDE
    ),
    Column("rsum", "both", "rsum", _recall),
)

COST = (
    Column("parameters", "model", "parameters", lambda value: formats.count(value.mean)),
    Column("train_seconds", "model", "training time", lambda value: formats.duration(value.mean)),
    Column("encode_image_ms", "encode", "per image", _milliseconds),
    Column("encode_caption_ms", "encode", "per caption", _milliseconds),
    Column("score_image_ms", "score one query", "image, all captions", _milliseconds),
    Column("score_caption_ms", "score one query", "caption, all images", _milliseconds),
)


def rows(results: Results, data: str) -> list[Row]:
    """The rows of one data set, highest mean rsum first; equal ones by name."""
    groups: dict[tuple[str, str, str | None], list[Entry]] = {}
    for entry in results.of(data):
        found = entry.evaluation
        key = (found.kind, found.name if found.kind == "ensemble" else str(found.method), found.profile)
        groups.setdefault(key, []).append(entry)
    made = [_row(data, *key, entries) for key, entries in groups.items()]
    return sorted(made, key=lambda row: (-row.values["rsum"].mean, row.name))


def _row(data: str, kind: str, label: str, profile: str | None, entries: list[Entry]) -> Row:
    entries = sorted(entries, key=lambda entry: (entry.evaluation.seed or 0, entry.name))
    values = {key: Stat.of([getattr(entry.evaluation.metrics, key) for entry in entries]) for key in METRICS}
    for key in COSTS:
        costs = [getattr(entry.evaluation, key) for entry in entries]
        if None not in costs:
            values[key] = Stat.of(costs)
    profile = None if kind == "ensemble" else profile
    return Row(data, kind, label, profile, entries[0].evaluation.features, tuple(entries), values)


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
    """`{data: {row: {metric: mean, …, "seeds": n, "std": {metric: …}}}}`, a DVC metrics file."""
    board: dict[str, Any] = {}
    for data in results.datasets:
        board[data] = {}
        for row in rows(results, data):
            figures: dict[str, Any] = {key: value.mean for key, value in row.values.items()}
            if row.kind == "run":
                figures["seeds"] = len(row.entries)
            std = {key: value.std for key, value in row.values.items() if value.std is not None}
            board[data][row.name] = figures | ({"std": std} if std else {})
    return board


def as_markdown(results: Results, title: str) -> str:
    """The leaderboard as GitHub-flavoured Markdown: per data set one table of quality and one of cost."""
    parts = [f"# {markdown_text(title)}"]
    for data in results.datasets:
        board = rows(results, data)
        first = board[0].entries[0].evaluation
        selected = " and ".join(sorted({entry.evaluation.selected_on for entry in results.of(data)}))
        parts.append(f"## {markdown_text(data)}")
        if first.features in NOT_REAL:
            parts.append(f"> **{first.features.capitalize()} features.** {NOT_REAL[first.features]}")
        parts.append(
            f"{markdown_text(first.split)} split: {first.n_images} images, {first.n_captions} captions; models "
            f"selected on {markdown_text(selected)}; mean ± standard deviation over seeds. R@1 of a random ranking: "
            f"{chance_text(first.n_images, first.n_captions)}."
        )
        parts += [_markdown_table(board, QUALITY), _markdown_table(board, COST)]
    if not results.entries:
        parts.append("No run is configured.")
    return "\n\n".join(parts) + "\n"


def _markdown_table(board: Iterable[Row], columns: tuple[Column, ...]) -> str:
    headings = ["method", "profile", "features", "seeds"]
    headings += [c.heading if c.key == "rsum" or c.group == "model" else f"{c.group} {c.heading}" for c in columns]
    lines = [headings, ["---"] * 4 + ["--:"] * len(columns)]
    for row in board:
        texts = (row_label(row), row.profile or formats.NONE, row.features, seeds(row))
        lines.append([markdown_text(text) for text in texts] + [row.cell(column) for column in columns])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_text(text: str) -> str:
    """`text` as literal Markdown that stays in its table cell."""
    return re.sub(r"([\\`*\[\]|<>&#])", r"\\\1", " ".join(text.split()))


def row_label(row: Row) -> str:
    """What a row is called in a table."""
    return row.label if row.kind == "run" else f"{row.label} (ensemble of {len(row.entries[0].evaluation.members)})"


def seeds(row: Row) -> str:
    """How many seeds, and which: `2 (1, 2)`."""
    if row.kind == "ensemble":
        return formats.NONE
    return f"{len(row.entries)} ({', '.join(str(entry.evaluation.seed) for entry in row.entries)})"


def print_leaderboard(results: Results, console: Console) -> None:
    """Print one table per data set that fits 80 columns: recalls and rsum, with deviations for R@1 and rsum."""
    compact = [column for column in QUALITY if column.heading in ("R@1", "R@5", "R@10", "rsum")]
    for data in results.datasets:
        board = rows(results, data)
        first = board[0].entries[0].evaluation
        facts = f"{data}: {first.split}, {first.n_images:,} images, {first.n_captions:,} captions, {first.features} features"
        table = Table(title=Text(facts), box=box.SIMPLE_HEAD, padding=(0, 0), title_justify="left")
        table.add_column("method/profile", overflow="fold", min_width=max(len(row.name) for row in board))
        table.add_column("n", justify="right", no_wrap=True)
        for column in compact:
            short = column.key.partition("_")[0]
            heading = f"{short}\n{column.heading}" if short in DIRECTIONS else f"\n{column.heading}"
            table.add_column(heading, no_wrap=True)
        lines = [[_compact(row.values[column.key], column) for column in compact] for row in board]
        # Means below each other, whether or not a deviation follows.
        widths = [max(len(line[at][0]) for line in lines) for at in range(len(compact))]
        for row, line in zip(board, lines, strict=True):
            cells = [mean.rjust(width) + deviation for (mean, deviation), width in zip(line, widths, strict=True)]
            size = str(len(row.entries)) if row.kind == "run" else formats.NONE
            table.add_row(Text(row.name), size, *cells)
        console.print(table, width=min(console.width, 100))
        if first.features in NOT_REAL:
            console.print(Text(NOT_REAL[first.features], style="yellow"), width=min(console.width, 100))


def _compact(value: Stat, column: Column) -> tuple[str, str]:
    """Mean and deviation as text; the deviation only where a narrow table has room for it."""
    shown = value.std is not None and column.heading in ("R@1", "rsum")
    return formats.recall(value.mean), f"±{value.std:.1f}" if shown else ""
