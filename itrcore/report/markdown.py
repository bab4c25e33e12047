"""The leaderboard as GitHub-flavoured Markdown, beside the report's pages."""

from __future__ import annotations

import re
from collections.abc import Iterable

from itrcore.protocols import contract
from itrcore.report import formats
from itrcore.report.leaderboard import (
    COST,
    PUBLISHED,
    QUALITY,
    Column,
    Row,
    board_legend,
    chance_text,
    cost_legend,
    quality,
    reference_cell,
    rows,
)
from itrcore.report.noise import MARK, NEAR
from itrcore.report.published_figures import KINDS
from itrcore.report.references import HEADING, Reference, references
from itrcore.report.results import NOT_REAL, Results, not_real


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
        parts += [*_markdown_beside(board), *_markdown_references(references(results, data), QUALITY)]
        parts.append(_markdown_table(board, COST))
        parts += [f"{line}." for line in cost_legend(board)]
        for protocol in results.protocols.get(data, ()):
            described, board = contract.protocol(protocol), rows(results, data, protocol)
            parts.append(f"### {_markdown_text(described.title)}")
            parts += [_markdown_text(described.note)] if described.note else []
            parts += [_markdown_table(board, quality(protocol)), *_markdown_beside(board)]
            parts += _markdown_references(references(results, data, protocol), quality(protocol))
    if not results.entries:
        parts.append("No run is configured.")
    return "\n\n".join(parts) + "\n"


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


def _markdown_references(others: list[Reference], columns: tuple[Column, ...]) -> list[str]:
    if not others:
        return []
    columns = tuple(column for column in columns if any(column.key in other.figures for other in others))
    lines = [["model", *(_long_heading(column) for column in columns), "source"]]
    lines.append(["---", *["--:"] * len(columns), "---"])
    for other in others:
        cells = [reference_cell(other, column) for column in columns]
        lines.append([_markdown_text(other.name), *cells, _markdown_text(other.source)])
    return [f"{HEADING}:", _markdown_lines(lines)]


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
    return f"{row.label} ({row.entries[0].evaluation.method})" if row.elsewhere else row.label


def _seeds(row: Row) -> str:
    """How many seeds, and which: `2 (1, 2)`; `imported`, `zero-shot` or `simulated` where it was not trained here."""
    if row.kind == "ensemble":
        return formats.NONE
    if row.elsewhere:
        return row.elsewhere
    return f"{len(row.entries)} ({', '.join(str(entry.evaluation.seed) for entry in row.entries)})"
