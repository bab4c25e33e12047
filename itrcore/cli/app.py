"""`itr`: what a user wants beside `dvc repro`: configuration, data, leaderboard, released checkpoints, explanations, MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console

from itrcore.cli import checkpoints as cli_released
from itrcore.cli import explain as cli_explain
from itrcore.cli.data import data as data_commands
from itrcore.errors import ITRError
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.settings.runs import RunSettings
from itrcore.terminal import user_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(data_commands, name="data")
app.command("import")(cli_released.import_)
app.command("export")(cli_released.export)
app.command()(cli_explain.explain)


@app.command()
def check(path: Path = typer.Argument(Path("params.yaml"), help="the file to check")) -> None:
    """Check a params.yaml and list what it would run."""
    with user_errors():
        from itrcore.settings.experiments import check_steps

        params = load(path)
        check_steps(params, path.parent)
    # No table: names may be long, and a narrow terminal would crop them.
    console = Console(soft_wrap=True, highlight=False)
    for line in _described(params):
        console.print(line, markup=False)
    console.print(f"{path}: valid. {len(params.runs)} runs, {len(params.ensembles)} ensembles.", markup=False)


def _described(params: Params) -> Iterator[str]:
    """Runs that differ only in their seed below one heading; then the ensembles."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, run in params.runs.items():
        groups.setdefault((run.data, run.method, run.changes), []).append(name)
    for (data, method, changes), names in groups.items():
        trained = [name for name in names if params.runs[name].checkpoint is None]
        yield f"{method} on {data}, {changes}"
        if trained:
            recipe = params.method_of(trained[0]).recipe
            yield f"  {recipe.epochs} epochs, batch {recipe.batch_size}, learning rate {recipe.learning_rate:g}"
        yield from (f"  {_origin(params.runs[name])}: {name}" for name in names)
        yield ""
    for name, ensemble in params.ensembles.items():
        yield f"ensemble {name} on {ensemble.data}"
        yield from (f"  {run}" for run in ensemble.runs)
        yield ""


def _origin(run: RunSettings) -> str:
    return f"seed {run.seed}" if run.checkpoint is None else f"imported from {run.checkpoint.path}"


@app.command()
def leaderboard() -> None:
    """Print the leaderboard of the evaluated runs."""
    from itrcore.report.results import available
    from itrcore.report.terminal import print_leaderboard

    with user_errors():
        results, missing = available(load())
        print_leaderboard(results, Console())
    if missing:
        Console(soft_wrap=True, highlight=False).print(
            f"No results yet, run dvc repro: {', '.join(missing)}", markup=False
        )


@app.command()
def experiment(
    name: str = typer.Argument(help="of the new folder in experiments/"),
    like: Path = typer.Option(Path(), help="the folder of the experiment whose params.yaml it begins with"),
) -> None:
    """Make a folder for an experiment of your own, with another one's params.yaml and none of its results."""
    with user_errors():
        from itrcore.settings.experiments import create

        folder = create(load(like / "params.yaml").project, name, like)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{os.path.relpath(folder)}: change its params.yaml, then run dvc repro in it", markup=False)


@app.command()
def why(run: str = typer.Argument(help="a run in params.yaml")) -> None:
    """Say what changed since a run was trained and evaluated: the code, settings and data that decide its results."""
    console = Console(soft_wrap=True, highlight=False)
    with user_errors():
        from itrcore.runs import inputs

        params = load()
        for stage, told in inputs.changes(params, run).items():
            console.print(f"{stage}: {told[0] if len(told) == 1 else ''}".rstrip(), markup=False)
            for line in told if len(told) > 1 else ():
                console.print(f"  {line}", markup=False)


@app.command()
def track() -> None:
    """Make MLflow hold what the result folders hold, for instance after DVC restored a training from its cache."""
    with user_errors():
        params = load()
        from itrcore.tracking.synchronise import synchronise

        found = synchronise(params)
        if found.refused:
            names = ", ".join(found.refused)
            raise ITRError(f"MLflow did not take {names} (see the warning above); run itr track again when it is back")
    total = len(found.held) + len(found.missing)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"MLflow holds {len(found.held)} of {total} runs and ensembles.")
    if found.missing:
        console.print(f"No results yet, run dvc repro: {', '.join(found.missing)}", markup=False)


if __name__ == "__main__":
    app()
