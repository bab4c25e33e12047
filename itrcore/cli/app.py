"""`itr`: what a user wants beside `dvc repro`: configuration, data, leaderboard, released checkpoints, explanations, MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from itrcore.answer import Answer
from itrcore.cli import check, checkpoints, compare, ensemble, explain, index, search, serve, sharing, sweep
from itrcore.cli.data import data as data_commands
from itrcore.cli.output import JSON, QUIET, Commands, command
from itrcore.cli.written import write_text
from itrcore.errors import ITRError
from itrcore.progress import working
from itrcore.terminal import Screen, remark, say, warn

# Commands import what they need when they run, so that `itr --help` answers at once.
app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
app.add_typer(data_commands, name="data")
command(app)(check.check)
command(app, "import")(checkpoints.import_)
command(app)(checkpoints.export)
command(app)(sharing.pull)
command(app)(explain.explain)
command(app)(compare.compare)
command(app)(ensemble.ensemble)
command(app)(index.index)
command(app)(search.search)
command(app)(serve.serve)
command(app)(sweep.sweep)


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


@command(app)
def leaderboard(
    protocol: str = typer.Option("split", help="whose figures: one of datasets.*.protocols in params.yaml"),
    costs: bool = typer.Option(False, "--costs", help="print what methods cost instead: times and memory"),
    csv: Path | None = typer.Option(None, help="write the table as CSV into this file instead; - is the terminal"),
    latex: Path | None = typer.Option(None, help="likewise as LaTeX, for booktabs"),
) -> Answer:
    """Print the leaderboard of the evaluated runs, or write it into files. --json has all protocols' figures."""
    from itrcore.report.exports import as_csv, as_latex
    from itrcore.report.leaderboard import as_json
    from itrcore.report.results import available
    from itrcore.report.terminal import print_costs, print_leaderboard
    from itrcore.settings.checks import check_protocol
    from itrcore.settings.load import load

    params = load()
    check_protocol(params, protocol)
    results, missing = available(params)
    value = {"leaderboard": as_json(results, with_references=True), "missing": missing}
    if csv is not None or latex is not None:
        if csv is not None:
            write_text(csv, as_csv(results, protocol))
        if latex is not None:
            write_text(latex, as_latex(results, protocol))
        if missing:
            warn(f"no results yet, run dvc repro: {', '.join(missing)}")
        return Answer(value)

    def show() -> None:
        if costs:
            print_costs(results, Screen())
        else:
            print_leaderboard(results, Screen(), protocol)
        if missing:
            say(_without_results(missing))

    return Answer(value, show)


@command(app)
def experiment(
    name: str = typer.Argument(help="of the new folder in experiments/"),
    like: Path = typer.Option(Path(), help="the folder of the experiment whose params.yaml it begins with"),
) -> Answer:
    """Make a folder for an experiment of your own, with another one's params.yaml and none of its results."""
    from itrcore.settings.experiments import create
    from itrcore.settings.load import load

    folder = os.path.relpath(create(load(like / "params.yaml").project, name, like))
    return Answer({"folder": folder}, f"{folder}: change its params.yaml, then run dvc repro in it")


@command(app)
def why(run: str = typer.Argument(help="a run in params.yaml")) -> Answer:
    """Say what changed since a run was trained and evaluated: the code, settings and data that decide its results."""
    from itrcore.runs import inputs
    from itrcore.settings.load import load

    found = inputs.changes(load(), run)
    lines = [
        "\n  ".join([f"{stage}:", *changes]) if len(changes) > 1 else f"{stage}: {changes[0]}"
        for stage, changes in found.items()
    ]
    return Answer({"run": run, "changes": found}, "\n".join(lines))


@command(app)
def track() -> Answer:
    """Make MLflow hold what the result folders hold, for instance after DVC restored a training from its cache."""
    with working("bringing MLflow up to date"):
        from itrcore.settings.load import load

        params = load()
        from itrcore.tracking.synchronise import synchronise  # takes seconds, so only for params.yaml without errors

        recorded = synchronise(params)
    if recorded.refused:
        names = ", ".join(recorded.refused)
        raise ITRError(f"MLflow did not take {names} (see the warning above); run itr track again when it is back")
    held, missing = recorded.held, recorded.missing
    lines = [f"MLflow holds {len(held)} of {len(held) + len(missing)} runs and ensembles."]
    return Answer({"held": held, "missing": missing}, "\n".join(lines + [_without_results(missing)] * bool(missing)))


@command(app)
def register() -> Answer:
    """Register the best run on dev of each data set as an MLflow model, its champion; the report then keeps it the best."""
    with working("registering models"):
        from itrcore.settings.load import load

        params = load()
        from itrcore.serving.registering import keep_champions
        from itrcore.tracking.synchronise import synchronise

        refused = synchronise(params).refused
        if refused:
            raise ITRError("MLflow failed (see the warning above); run itr register again when it is back")
        changed = keep_champions(params, begin=True)
    lines = [
        f"models:/{model}@champion: {run.name}, with rsum {run.dev_rsum:.1f} on dev" for model, run in changed.items()
    ]
    nothing = "Nothing to register: every champion is the best run on dev already, or no run has results yet."
    registered = {model: {"run": run.name, "dev_rsum": run.dev_rsum} for model, run in changed.items()}
    return Answer({"registered": registered}, "\n".join(lines or [nothing]))


@command(app)
def heal() -> Answer:
    """Remove damaged files from DVC's cache and outputs, so that dvc repro makes them anew.

    DVC trusts its cache and would restore the damage. Every file is read; start no stage meanwhile.
    """
    with working("reading every file"):
        from itrcore import repro
        from itrcore.cache import remove_damaged

        repro.wait_until_free(remark)
        removed = [os.path.relpath(path) for path in remove_damaged()]
    lines = [*(f"removed {path}" for path in removed), f"{len(removed)} damaged files."]
    then = "Next: dvc repro, or dvc pull where a remote has them" if removed else ""
    return Answer({"removed": removed}, "\n".join(lines), then)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def up(context: typer.Context, quiet: bool = QUIET, json: bool = JSON) -> None:
    """Start Prefect's server, MLflow's server and a worker on this machine, until Ctrl-C; --help says with which options."""
    asked = [*["--quiet"] * quiet, *["--json"] * json]
    os.execv(
        sys.executable, [sys.executable, "-m", "flows.up", *asked, *context.args]
    )  # another way in, which this one cannot import


def _without_results(names: Sequence[str]) -> str:
    return f"No results yet, run dvc repro: {', '.join(names)}"
