"""`itr`: what a user wants beside `dvc repro`: configuration, data, leaderboard, released checkpoints, explanations, MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from itrcore.cli import check, checkpoints, compare, ensemble, explain, index, search, serve, sharing
from itrcore.cli.data import data as data_commands
from itrcore.errors import ITRError
from itrcore.progress import working
from itrcore.terminal import Screen, say, user_errors, warn

# Commands import what they need when they run, so that `itr --help` answers at once.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(data_commands, name="data")
app.command()(check.check)
app.command("import")(checkpoints.import_)
app.command()(checkpoints.export)
app.command()(sharing.pull)
app.command()(explain.explain)
app.command()(compare.compare)
app.command()(ensemble.ensemble)
app.command()(index.index)
app.command()(search.search)
app.command()(serve.serve)


def _version(asked: bool) -> None:
    if asked:
        from itrcore import __version__
        from itrcore.provenance import HOME, code_version

        say(f"itr {__version__}, code version {code_version(HOME)}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the versions of the package and of its code."
    ),
) -> None:
    pass


@app.command()
def leaderboard(
    protocol: str = typer.Option("split", help="whose figures: one of datasets.*.protocols in params.yaml"),
    costs: bool = typer.Option(False, "--costs", help="print what methods cost instead: times and memory"),
    json: Path | None = typer.Option(
        None, help="write all protocols' figures as JSON into this file instead; - is the terminal"
    ),
    csv: Path | None = typer.Option(None, help="the table as CSV"),
    latex: Path | None = typer.Option(None, help="the table as LaTeX, for booktabs"),
) -> None:
    """Print the leaderboard of the evaluated runs, or write it into files."""
    with user_errors():
        from itrcore.report.results import available
        from itrcore.report.terminal import print_costs, print_leaderboard
        from itrcore.settings.checks import check_protocol
        from itrcore.settings.load import load

        params = load()
        check_protocol(params, protocol)
        results, missing = available(params)
        if json is None and csv is None and latex is None:
            if costs:
                print_costs(results, Screen())
            else:
                print_leaderboard(results, Screen(), protocol)
            _print_missing(missing)
            return
        from json import dumps

        from itrcore.cli.written import write_text
        from itrcore.report.exports import as_csv, as_latex
        from itrcore.report.leaderboard import as_json

        if json is not None:
            write_text(json, dumps(as_json(results, with_references=True), indent=1, ensure_ascii=False))
        if csv is not None:
            write_text(csv, as_csv(results, protocol))
        if latex is not None:
            write_text(latex, as_latex(results, protocol))
        if missing:
            warn(f"no results yet, run dvc repro: {', '.join(missing)}")


@app.command()
def experiment(
    name: str = typer.Argument(help="of the new folder in experiments/"),
    like: Path = typer.Option(Path(), help="the folder of the experiment whose params.yaml it begins with"),
) -> None:
    """Make a folder for an experiment of your own, with another one's params.yaml and none of its results."""
    with user_errors():
        from itrcore.settings.experiments import create
        from itrcore.settings.load import load

        folder = create(load(like / "params.yaml").project, name, like)
    say(f"{os.path.relpath(folder)}: change its params.yaml, then run dvc repro in it")


@app.command()
def why(run: str = typer.Argument(help="a run in params.yaml")) -> None:
    """Say what changed since a run was trained and evaluated: the code, settings and data that decide its results."""
    with user_errors():
        from itrcore.runs import inputs
        from itrcore.settings.load import load

        for stage, changes in inputs.changes(load(), run).items():
            say("\n  ".join([f"{stage}:", *changes]) if len(changes) > 1 else f"{stage}: {changes[0]}")


@app.command()
def track() -> None:
    """Make MLflow hold what the result folders hold, for instance after DVC restored a training from its cache."""
    with user_errors(), working("bringing MLflow up to date"):
        from itrcore.settings.load import load

        params = load()
        from itrcore.tracking.synchronise import synchronise  # takes seconds, so only for params.yaml without errors

        recorded = synchronise(params)
        if recorded.refused:
            names = ", ".join(recorded.refused)
            raise ITRError(f"MLflow did not take {names} (see the warning above); run itr track again when it is back")
    say(f"MLflow holds {len(recorded.held)} of {len(recorded.held) + len(recorded.missing)} runs and ensembles.")
    _print_missing(recorded.missing)


@app.command()
def register() -> None:
    """Register the best run on dev of each data set as an MLflow model, its champion; the report then keeps it the best."""
    with user_errors(), working("registering models"):
        from itrcore.settings.load import load

        params = load()
        from itrcore.serving.registering import keep_champions
        from itrcore.tracking.synchronise import synchronise

        refused = synchronise(params).refused
        if refused:
            raise ITRError("MLflow failed (see the warning above); run itr register again when it is back")
        changed = keep_champions(params, begin=True)
    for model, run in changed.items():
        say(f"models:/{model}@champion: {run.name}, with rsum {run.dev_rsum:.1f} on dev")
    if not changed:
        say("Nothing to register: every champion is the best run on dev already, or no run has results yet.")


@app.command()
def heal() -> None:
    """Remove damaged files from DVC's cache and outputs, so that dvc repro makes them anew.

    DVC trusts its cache and would restore the damage. Every file is read; start no stage meanwhile.
    """
    with user_errors(), working("reading every file"):
        from itrcore import repro
        from itrcore.cache import remove_damaged

        repro.wait_until_free(say)
        removed = remove_damaged()
    for path in removed:
        say(f"removed {os.path.relpath(path)}")
    say(f"{len(removed)} damaged files." + (" Next: dvc repro, or dvc pull where a remote has them" if removed else ""))


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def up(context: typer.Context) -> None:
    """Start Prefect's server, MLflow's server and a worker on this machine, until Ctrl-C; --help says with which options."""
    os.execv(
        sys.executable, [sys.executable, "-m", "flows.up", *context.args]
    )  # another way in, which this one cannot import


def _print_missing(names: Sequence[str]) -> None:
    if names:
        say(f"No results yet, run dvc repro: {', '.join(names)}")
