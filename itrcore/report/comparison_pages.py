"""A page for each comparison of two results: the best row of a data set beside each other row, as `itr compare` has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from itrcore.report import pages
from itrcore.report.comparison import Compared, compare_each
from itrcore.report.leaderboard import Row
from itrcore.report.results import Results, not_real

EXAMPLES = 4  # of the queries that only one of both gets, each way


def comparisons(results: Results, best: Row, board: Sequence[Row]) -> dict[str, Compared]:
    """Name of each row but the best → the best's first seed beside its first seed; `DataError` as `compare_each`."""
    others = [row for row in board if row is not best]
    if not others:
        return {}
    first, *rest = (row.entries[0].evaluation for row in (best, *others))
    compared = compare_each(first, rest, EXAMPLES, results.root)
    return {row.name: each for row, each in zip(others, compared, strict=True)}


def comparison_path(compared: Compared) -> str:
    """The page of a comparison, relative to the report's folder."""
    return f"compared/{compared.a}/{compared.b}.html"


def write(
    environment: Environment,
    folder: Path,
    best: Row,
    board: Sequence[Row],
    compared: Mapping[str, Compared],
    picture: Callable[[str | None], Any],
) -> None:
    """Write a data set's pages into the report's folder. picture: by file name, what of it can be shown"""
    for row in board:
        if row.name in compared:
            each = compared[row.name]
            pages.write(
                environment, folder / comparison_path(each), "comparison.html", "../../",
                compared=each, a=best.entries[0], b=row.entries[0], best=best, row=row, picture=picture,
                banner=not_real([best.entries[0], row.entries[0]]),
            )  # fmt: skip
