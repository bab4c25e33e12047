"""`itr compare`: two results beside each other, and whether they differ by more than noise."""

from __future__ import annotations

import typer

from itrcore.answer import Answer
from itrcore.terminal import Screen


def compare(
    a: str = typer.Argument(help="a run or an ensemble in params.yaml"),
    b: str = typer.Argument(help="another one on the same data set"),
    examples: int = typer.Option(3, min=0, help="how many of the queries that only one of them gets are shown"),
) -> Answer:
    """Compare two results: differences with interval and p, and the queries that only one of them has at rank 1."""
    from itrcore.report.comparison import compare, print_comparison
    from itrcore.settings.load import load

    compared = compare(load(), a, b, examples)
    return Answer(compared, lambda: print_comparison(compared, Screen(highlight=False)))
