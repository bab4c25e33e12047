"""`itr import` and `itr export`: checkpoints of the methods' released codes, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from itrcore import layout
from itrcore.answer import Answer
from itrcore.cli.output import reproduce
from itrcore.errors import ConfigError, DataError, ITRError, nearest
from itrcore.progress import is_hushed
from itrcore.terminal import remark, warn

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
) -> Answer:
    """Add a released checkpoint as a run: checked, put into params.yaml, evaluated and logged like any other."""
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
        "path": _written(checkpoint),
        "sha256": importing.sha256_of(checkpoint),
        "text_digest": imported.text.digest,
    }
    if vocab is not None:
        given["vocabulary"] = _written(vocab)
    changes = {key: value for key, value in (("variant", variant), ("profile", profile)) if value is not None}
    edit.add(PARAMS, "runs", name, {"data": dataset, "method": entry_name, **changes, "checkpoint": given})
    remark("\n".join(imported.summary()))
    if vocab is None and text == "bigru":
        warn(
            f"the vocabulary of {dataset} is used, as it has the right size. Copies of SCAN's vocabularies differ in their "
            "order: if the figures are far from the published ones, name the checkpoint's own with --vocab."
        )
    remark(f"runs.{name} stands in params.yaml.")
    return judge(name, evaluate)


def export(
    run: str = typer.Option(help="the run's name in params.yaml"),
    out: Path = typer.Option(help="the file to write, such as model_best.pth"),
    layout_name: str = typer.Option("released", "--layout", help="released: that of the method's released code"),
) -> Answer:
    """Write a run's model as its method's released code saves one, so that this can evaluate it."""
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
    lines = [f"{out}: {run} in the layout of the released code"]
    if exported.vocabulary is not None:
        lines.append(f"{exported.vocabulary}: its vocabulary")
    for caution in exported.cautions:
        warn(f"the released code will not evaluate this as it stands: {caution}")
    value = {"run": run, "checkpoint": out, "vocabulary": exported.vocabulary, "cautions": exported.cautions}
    return Answer(value, "\n".join(lines))


def judge(name: str, now: bool) -> Answer:
    """Evaluate and judge a run that was added, or say what does. `ITRError` where that fails."""
    from itrcore.protocols.results import summary
    from itrcore.runs.folder import METRICS, read
    from itrcore.runs.records import Evaluation
    from itrcore.settings.load import load

    if not now:
        return Answer({"run": name, "metrics": None}, then=f"Next: dvc repro judge@{name}")
    # The steps are DVC's; this only starts them, as a user would.
    if status := reproduce(f"judge@{name}"):
        raise ITRError(f"dvc repro judge@{name} failed (exit status {status}); what it printed says why")
    evaluation = read(layout.result(load(PARAMS).run(name).data, name) / METRICS, Evaluation, f"judge@{name}")
    figures = summary(evaluation) if is_hushed() else ""  # else the stage has said it
    return Answer(
        {"run": name, "metrics": evaluation.metrics}, figures, "\nNext: itr leaderboard, or dvc repro for the report"
    )


def _written(path: Path) -> str:
    """As it stands in params.yaml and then in records: relative to the current folder if it lies there."""
    return (path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path).as_posix()


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
