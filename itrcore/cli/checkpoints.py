"""`itr import` and `itr export`: checkpoints of the methods' released codes, in and out."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from itrcore import layout, repro
from itrcore.errors import ConfigError, DataError, nearest
from itrcore.terminal import say, user_errors, warn

if TYPE_CHECKING:
    from itrcore.settings.params import Params

PARAMS = Path("params.yaml")


def import_(
    method: str = typer.Option(help="the method, such as esl_h; for an unknown one the error lists all"),
    text: str = typer.Option(help="its text encoder: bigru, bert or clip"),
    dataset: str = typer.Option(help="the data set in params.yaml that it is evaluated on"),
    checkpoint: Path = typer.Option(help="the released file, such as model_best.pth"),
    vocab: Path | None = typer.Option(
        None,
        help="the vocabulary it was trained with: SCAN's JSON, BERT's vocab.txt, or CLIP's bpe_simple_vocab_16e6.txt.gz or "
        "tokenizer.json; else the data set's, or that of the BERT or CLIP in params.yaml",
    ),
    grid: bool = typer.Option(False, "--grid", help="it was trained on grid features"),
    name: str | None = typer.Option(None, help="of the run; else DATASET-METHOD_TEXT-released"),
    variant: str | None = typer.Option(None, help="of the method's recipe, such as coco or released"),
    profile: str | None = typer.Option(None, help="of params.yaml, laid over the recipe; sizes are the checkpoint's"),
    evaluate: bool = typer.Option(True, help="evaluate it now"),
) -> None:
    """Add a released checkpoint as a run: checked, put into params.yaml, evaluated and logged like any other."""
    with user_errors():
        from itrcore.released import importing
        from itrcore.settings import edit
        from itrcore.settings.load import load

        params = load(PARAMS)
        params.dataset(dataset)
        family = f"{method}_{text}" + ("_grid" if grid else "")
        name = name or _free_name(params, f"{dataset}-{family}-released")
        entry_name = _method(params, family)
        if name in params.runs or name in params.ensembles:  # before a large file is read
            raise ConfigError(f"{PARAMS}: {name} is there already; choose another name or remove it first")
        imported = importing.load(checkpoint, params.method_with(entry_name, variant, profile), vocab, dataset)
        given = {
            "path": checkpoint.as_posix(),
            "sha256": importing.sha256_of(checkpoint),
            "text_digest": imported.text.digest,
        }
        if vocab is not None:
            given["vocabulary"] = vocab.as_posix()
        changes = {key: value for key, value in (("variant", variant), ("profile", profile)) if value is not None}
        edit.add(PARAMS, "runs", name, {"data": dataset, "method": entry_name, **changes, "checkpoint": given})
        summary = imported.summary()
    # Flushed, here and below: warnings and DVC write past this buffer.
    say("\n".join(summary))
    if vocab is None and text == "bigru":
        warn(
            f"the vocabulary of {dataset} is used, as it has the right size. Copies of SCAN's vocabularies differ in their "
            "order: if the figures are far from the published ones, name the checkpoint's own with --vocab."
        )
    say(f"runs.{name} stands in params.yaml.")
    judge(name, evaluate)


def export(
    run: str = typer.Option(help="the run's name in params.yaml"),
    out: Path = typer.Option(help="the file to write, such as model_best.pth"),
    layout_name: str = typer.Option("released", "--layout", help="released: that of the method's released code"),
) -> None:
    """Write a run's model as its method's released code saves one, so that this can evaluate it."""
    with user_errors():
        if layout_name != "released":
            raise ConfigError(f"--layout {layout_name}: not known; the one layout is released")
        from itrcore.released.exporting import export_run
        from itrcore.settings.load import load

        params = load(PARAMS)
        folder = layout.run(params.run(run).data, run)
        if not (folder / "run.json").exists():
            raise DataError.at(folder, "no results yet", "a trained run", do=f"Run: dvc repro train@{run}")
        try:
            exported = export_run(folder, out)
        except OSError as error:
            raise DataError.at(out, f"cannot be written ({error.strerror})", "a path that can be written to") from error
    say(f"{out}: {run} in the layout of the released code")
    if exported.vocabulary is not None:
        say(f"{exported.vocabulary}: its vocabulary")
    for caution in exported.cautions:
        warn(f"the released code will not evaluate this as it stands: {caution}")


def judge(name: str, now: bool) -> None:
    """Evaluate and judge a run that was added, and end with the exit code of that; or say what does."""
    if not now:
        say(f"Next: dvc repro judge@{name}")
        return
    # The steps are DVC's; this only starts them, as a user would.
    repro.wait_until_free(say)
    done = subprocess.run(repro.command(f"judge@{name}"), env=repro.environment())
    if done.returncode == 0:
        say("\nNext: itr leaderboard, or dvc repro for the report")
    raise typer.Exit(done.returncode)


def _method(params: Params, family: str) -> str:
    """The name of the recipe of this family; of several, the one that is called so itself.

    `ConfigError` where there is none: it lists those whose released checkpoints are read.
    """
    if family in params.recipes and params.recipes[family].settings.family == family:
        return family
    recipes = {recipe.settings.family: name for name, recipe in params.recipes.items()}
    if family not in recipes:
        from itrcore.released.layouts import LAYOUTS

        known = sorted(recipes.keys() & LAYOUTS.keys())
        raise ConfigError(f"no recipe is of {family}{nearest(family, known)} (known: {', '.join(known)})")
    return recipes[family]


def _free_name(params: Params, name: str) -> str:
    taken, number, free = {*params.runs, *params.ensembles}, 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
