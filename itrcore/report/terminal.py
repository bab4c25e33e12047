"""The leaderboard as a table for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from itrcore.protocols import contract
from itrcore.protocols.contract import BOTH, SIDES
from itrcore.protocols.uncertainty import LEVEL
from itrcore.registry import WHOLE_SPLIT
from itrcore.report import formats
from itrcore.report.leaderboard import (
    COST,
    Column,
    Row,
    Stat,
    board_legend,
    cost_legend,
    quality,
    reference_cell,
    rows,
)
from itrcore.report.noise import MARK
from itrcore.report.published_figures import KINDS
from itrcore.report.references import HEADING, Reference, references
from itrcore.report.results import NOT_REAL, Results, not_real
from itrcore.settings.datasets import PIXELS
from itrcore.settings.evaluation import GALLERIES

WIDEST = 100
ELSEWHERE = {  # in place of the number of seeds: a mark, and what it says
    "imported": ("*", "imported, not trained here"),
    "zero-shot": ("0", "zero-shot: published weights, not trained"),
    "simulated": ("S", "simulated: no model, similarities made by a program"),
}
_COSTS = {  # columns, in the order of `COST`, and their headings
    "parameters": "param-\neters", "encode_image_ms": "encode\nimage", "encode_caption_ms": "\ncaption",
    **{f"search_{size}_ms": f"{'search' if size == GALLERIES[0] else ''}\n{size // 1000} k" for size in GALLERIES},
    "image_bytes": "memory\nimage",
}  # fmt: skip


def print_leaderboard(results: Results, console: Console, protocol: str = WHOLE_SPLIT) -> None:
    """Print one table per data set that fits 80 columns: recalls and rsum, with deviations for R@1 and rsum.

    protocol: whose figures; data sets that have it not are left out

    Below a row stand its published figures and ours minus them, their sources below the table. Where the terminal is too
    narrow a name is folded, and then the intervals of rsum are left out; no figure is cut. Reference rows come last.
    """
    width = min(console.width, WIDEST)
    for data in results.having(protocol):
        board = rows(results, data, protocol)
        described = contract.protocol(protocol)
        first = board[0].entries[0].evaluation
        kinds = formats.distinct(entry.evaluation.features for entry in results.of(data)).split(", ")
        inputs = " and ".join(kind if kind == PIXELS else f"{kind} features" for kind in kinds)
        title = "" if protocol == WHOLE_SPLIT else f"{described.title}, "
        facts = f"{data}: {title}{first.split}, {first.n_images:,} images, {first.n_captions:,} captions, {inputs}"
        columns = tuple(column for column in quality(protocol) if not column.lowest)
        sources = list(dict.fromkeys(source for row in board if (source := _source(row))))
        others = references(results, data, protocol)
        sources += dict.fromkeys(_source_of(other) for other in others)
        table = _table(facts, board, others, sources, columns, intervals=protocol == WHOLE_SPLIT)
        if not (wide := protocol == WHOLE_SPLIT and _narrowest(table, console) <= width):
            table = _table(facts, board, others, sources, columns, intervals=False)
        console.print(table, width=width)
        notes = [f" {described.note}"] if described.note else []
        notes += [f" {line}" for line in board_legend(board, interval=wide)]
        notes += [f" [{number}] {source}" for number, source in enumerate(sources, 1)]
        elsewhere = dict.fromkeys(row.elsewhere for row in board if row.elsewhere)
        notes = [f" {' '.join(ELSEWHERE[how])}" for how in elsewhere] + notes
        notes += [f" {row.name}: {row.collapsed}" for row in board if row.collapsed]
        for note in notes:
            console.print(Text(note), width=width)
        console.print()
        for kind in not_real(results.of(data)):
            console.print(Text(NOT_REAL[kind], style="yellow"), width=width)


def print_costs(results: Results, console: Console) -> None:
    """Print one table of costs per data set: parameters, encoding, one caption's search among ever more images, memory."""
    width = min(console.width, WIDEST)
    for data in results.tables:
        board = rows(results, data)
        table = Table(title=Text(f"{data}: cost"), box=box.SIMPLE_HEAD, padding=(0, 0), title_justify="left")
        table.add_column("method/profile", overflow="fold", min_width=16)
        for heading in _COSTS.values():
            table.add_column(heading, justify="right", no_wrap=True)
        for row in board:
            table.add_row(Text(row.name), *(row.cell(column) for column in COST if column.key in _COSTS))
        console.print(table, width=width)
        for line in cost_legend(board):
            console.print(Text(f" {line}"), width=width)
        console.print()


def _narrowest(table: Table, console: Console) -> int:
    """The columns that a table needs if its names are folded."""
    names = table.columns[0]
    names.max_width = names.min_width
    needed = console.measure(table, options=console.options.update(max_width=10 * WIDEST)).minimum
    names.max_width = None
    return needed


def _table(
    title: str,
    board: list[Row],
    others: list[Reference],
    sources: list[str],
    columns: tuple[Column, ...],
    intervals: bool,
) -> Table:
    lines: list[tuple[str, str, list[tuple[str, str]]]] = []  # name, seeds, (mean, what follows it) of each column
    for row in board:
        cells = [_compact(row.values.get(column.key), column) for column in columns]
        if intervals:
            cells.append((row.interval("rsum"), ""))
        lines.append((f"{row.name} {MARK}" if row.noise.near_best() else row.name, _seeds(row), cells))
        if row.published is not None:
            figures, differences = zip(*(row.published_cells(column) for column in columns), strict=True)
            number = sources.index(_source(row)) + 1
            beside = [("", "")] * intervals
            lines.append((f"  published [{number}]", "", [(text, "") for text in figures] + beside))
            lines.append(("  difference", "", [(text, "") for text in differences] + beside))
    for other in others:
        cells = [(reference_cell(other, column), "") for column in columns] + [("", "")] * intervals
        lines.append((f"{other.name} [{sources.index(_source_of(other)) + 1}]", "", cells))
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, padding=(0, 0), title_justify="left")
    table.add_column("method/profile", overflow="fold", min_width=16)  # "  published [12]"
    table.add_column("n", justify="right", no_wrap=True)
    for column in columns:
        side = column.key.partition("_")[0]
        above = side if side in SIDES else column.group if column.group != BOTH else ""
        heading = f"{above}\n{column.heading}"
        table.add_column(heading, no_wrap=True)
    if intervals:
        table.add_column(f"\n{LEVEL} %", no_wrap=True)
    # Means below each other, whether or not something follows.
    widths = [max(len(cells[at][0]) for _, _, cells in lines) for at in range(len(table.columns) - 2)]
    for number, (name, seeds, cells) in enumerate(lines):
        if number == len(lines) - len(others):
            table.add_section()
        shown = [mean.rjust(width) + more for (mean, more), width in zip(cells, widths, strict=True)]
        table.add_row(Text(name), seeds, *shown)
    return table


def _seeds(row: Row) -> str:
    if row.kind == "ensemble":
        return formats.NONE
    return ELSEWHERE[row.elsewhere][0] if row.elsewhere else str(len(row.entries))


def _source(row: Row) -> str:
    """Where a row's published figures are from, and for how many models; empty where nothing was published."""
    return "" if row.published is None else f"{KINDS[row.published.kind]}: {row.published.source}"


def _source_of(reference: Reference) -> str:
    return f"{HEADING.lower()}: {reference.source}"


def _compact(value: Stat | None, column: Column) -> tuple[str, str]:
    """Mean and deviation as text; the deviation only where a narrow table has room for it."""
    if value is None:
        return formats.NONE, ""
    shown = value.std is not None and column.heading in ("R@1", "rsum")
    return formats.recall(value.mean), f"±{value.std:.1f}" if shown else ""
