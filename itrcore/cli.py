"""`itr`: what a user wants beside `dvc repro`: check the configuration, show the leaderboard, bring MLflow up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from itrcore import layout
from itrcore.config import load
from itrcore.errors import ITRError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except ITRError as error:
        Console(stderr=True).print(f"[red bold]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None


@app.command()
def check(path: Path = typer.Argument(Path("params.yaml"), help="the file to check")) -> None:
    """Check a params.yaml and list what it would run."""
    with _user_errors():
        params = load(path)
        table = Table(
            "run", "data", "method", "profile", "seed", "epochs", "batch", "learning rate", box=None, pad_edge=False
        )
        for name, run in params.runs.items():
            recipe = params.method_of(name).recipe
            row = (
                name,
                run.data,
                run.method,
                run.profile,
                run.seed,
                recipe.epochs,
                recipe.batch_size,
                recipe.learning_rate,
            )
            table.add_row(*(str(value) for value in row))
        console = Console()
        console.print(table)
        console.print(f"{path}: valid. {len(params.runs)} runs, {len(params.ensembles)} ensembles.", highlight=False)


@app.command()
def leaderboard() -> None:
    """Print the leaderboard of the evaluated runs."""
    from itrcore.report import leaderboard as board
    from itrcore.report.results import collect

    with _user_errors():
        params = load()
        runs = {name: run.data for name, run in params.runs.items()}
        board.print_leaderboard(
            collect(Path("."), runs, {name: ensemble.data for name, ensemble in params.ensembles.items()}), Console()
        )


@app.command()
def track() -> None:
    """Make MLflow hold what the result folders hold, for instance after DVC restored a training from its cache."""
    from itrcore.tracking import Tracker

    with _user_errors():
        params, tracker, done = load(), Tracker(), 0
        for name, run in params.runs.items():
            folder, evaluation = layout.run(run.data, name), layout.evaluation(run.data, name)
            if (folder / "run.json").exists() and (evaluation / "metrics.json").exists():
                tracker.record(folder, evaluation)
                done += 1
        for name, ensemble in params.ensembles.items():
            if (layout.ensemble(ensemble.data, name) / "metrics.json").exists():
                tracker.record_ensemble(layout.ensemble(ensemble.data, name))
                done += 1
        Console().print(f"MLflow holds {done} of {len(params.runs) + len(params.ensembles)} runs and ensembles.")


if __name__ == "__main__":
    app()
