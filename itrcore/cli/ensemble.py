"""`itr ensemble`: which runs make the best ensembles, chosen on dev."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from itrcore.answer import Answer
from itrcore.errors import ConfigError, unknown
from itrcore.settings.runs import Scale, Weights
from itrcore.terminal import Screen, say

if TYPE_CHECKING:
    from itrcore.evaluation.ensemble import Found
    from itrcore.settings.params import Params


PARAMS = Path("params.yaml")
_SIZES = {"pairs": 2, "triples": 3}


def ensemble(
    search: Literal["pairs", "triples"] = typer.Option(
        ..., help="which ensembles are tried: all pairs, or all triples of evaluated runs"
    ),
    data: str | None = typer.Option(None, help="the data set; may be left out where params.yaml has one"),
    top: int = typer.Option(5, min=1, help="how many are shown, and measured on test"),
    weights: Weights = typer.Option("equal", help="equal, or chosen on dev for each ensemble"),
    scale: Scale = typer.Option("none", help="what is done to each run's similarities before: none, z_score or rank"),
    add: bool = typer.Option(False, help="write those shown into params.yaml; dvc repro then makes them"),
) -> Answer:
    """Try all ensembles of so many runs on dev, and measure the best ones once on test."""
    from itrcore.evaluation import ensemble
    from itrcore.settings.load import load

    params = load()
    name = _data(params, data)
    names = [f"{name}-{search}-{number}" for number in range(1, top + 1)]
    if add and (taken := {*params.runs, *params.ensembles}.intersection(names)):
        raise ConfigError(f"params.yaml: {min(taken)} is there already; remove it, or rename it to keep it")
    best, *found = ensemble.search(params, name, _SIZES[search], weights, scale, top)
    added = names[: len(found)] if add else []
    if add:
        _add(name, added, found, weights, scale)

    def show() -> None:
        _print(name, [best, *found])
        if added:
            say(f"Added to params.yaml: {', '.join(added)}.")

    value = {"data": name, "best_run": best, "ensembles": found, "added": added}
    return Answer(value, show, "Next: dvc repro" if added else "")


def _data(params: Params, data: str | None) -> str:
    if data is None:
        if len(params.datasets) > 1:
            raise ConfigError(f"say which data set: --data {' or --data '.join(params.datasets)}")
        return next(iter(params.datasets))
    for problem in unknown("--data", data, params.datasets, "datasets"):
        raise ConfigError(problem)
    return data


def _print(data: str, found: list[Found]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    screen = Screen(highlight=False)
    features = ", ".join(dict.fromkeys(each.features for each in found))
    title = Text(f"{data}, {features}: chosen by rsum on dev; test measured once")
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("runs", overflow="fold")
    for heading in ("weights", "dev\nrsum", "test\nrsum", "i2t\nR@1", "t2i\nR@1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, each in enumerate(found):
        single = len(each.runs) == 1
        table.add_row(
            "best run" if single else str(number),
            Text("\n".join(each.runs)),
            "" if single else "\n".join(f"{weight:.2f}" for weight in each.weights),
            f"{each.dev_rsum:.1f}",
            f"{each.metrics.rsum:.1f}",
            f"{each.metrics.i2t_r1:.1f}",
            f"{each.metrics.t2i_r1:.1f}",
        )
    screen.print(table)


def _add(data: str, names: list[str], found: list[Found], weights: Weights, scale: Scale) -> None:
    from itrcore.settings import edit

    options = {"weights": weights, "scale": scale}
    told = {key: value for key, value in options.items() if value not in ("equal", "none")}
    # Each new entry stands first in its section: so the best one is added last.
    for name, each in reversed(list(zip(names, found, strict=True))):
        edit.add(PARAMS, "ensembles", name, {"data": data, "runs": list(each.runs), **told})
