"""`itr compare`: two results beside each other, and whether they differ by more than noise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from itrcore.cli.written import write_text
from itrcore.terminal import Screen, user_errors


def compare(
    a: str = typer.Argument(help="a run or an ensemble in params.yaml"),
    b: str = typer.Argument(help="another one on the same data set"),
    examples: int = typer.Option(3, min=0, help="how many of the queries that only one of them gets are shown"),
    json: Path | None = typer.Option(None, help="write it as JSON into this file instead; - is the terminal"),
) -> None:
    """Compare two results: differences with interval and p, and the queries that only one of them has at rank 1."""
    with user_errors():
        from itrcore.report.comparison import compare, print_comparison
        from itrcore.settings.load import load

        compared = compare(load(), a, b, examples)
        if json is None:
            print_comparison(compared, Screen(highlight=False))
        else:
            from json import dumps

            write_text(json, dumps(asdict(compared), indent=2, ensure_ascii=False))
