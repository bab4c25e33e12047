"""`itr data`: look over a data set, or make one of your own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from itrcore import layout
from itrcore.answer import Answer
from itrcore.cli.output import command
from itrcore.progress import count_bars
from itrcore.settings.datasets import FEATURE_KINDS
from itrcore.terminal import Screen, say

if TYPE_CHECKING:
    from itrcore.data.examine.examination import Examined
    from itrcore.settings.params import Params

data = typer.Typer(no_args_is_help=True, help="Look over a data set, or make one of your own.")


@command(data)
def new(
    name: str = typer.Argument(help="the data set's name in params.yaml"),
    captions: Path = typer.Option(help="CSV with the columns image and caption, and split if it is given"),
    features: Path | None = typer.Option(
        None, help="a .npy with a row for each image, or a folder with a .npy for each"
    ),
    images: Path | None = typer.Option(None, help="the folder of the pictures"),
    kind: str | None = typer.Option(None, help=f"what the features are: {', '.join(FEATURE_KINDS)}"),
    extract: bool = typer.Option(
        False, "--extract", help="features of the pictures by EfficientNet-Lite0 (extra lite)"
    ),
    dev: float | None = typer.Option(None, help="below 1 a share of the images, else a count (default 0.1)"),
    test: float | None = typer.Option(None, help="likewise (default 0.1)"),
    seed: int = typer.Option(1, help="of the random split"),
) -> Answer:
    """Make a data set of your own captions, features and pictures, and put it into params.yaml."""
    from itrcore.own_data.make import make
    from itrcore.settings.load import load

    with count_bars() as bars:
        dataset = make(
            name,
            captions,
            features=features,
            images=images,
            kind=kind,
            extract=extract,
            dev=dev,
            test=test,
            seed=seed,
            progress=partial(bars.show, name),
        )
    params = load()
    counts = {split: {"images": n, "captions": m} for split, (n, m) in dataset.counts.items()}
    lines = [f"{split}: {n['images']:,} images, {n['captions']:,} captions" for split, n in counts.items()]
    lines += [f"note: {note}" for note in dataset.notes]
    lines += ["", f"{dataset.folder} is made, and datasets.{name} stands in params.yaml."]
    value = {"data": name, "folder": dataset.folder, "splits": counts, "notes": dataset.notes}
    return Answer(value, "\n".join(lines), f"Next:\n\n{_next_steps(params, name, dataset.counts['train'][0])}")


def _next_steps(params: Params, name: str, n_images: int) -> str:
    from itrcore.settings.proposal import FEW, PIECES, first_run, needs_pieces

    run = first_run(params, name, n_images)
    method = run.method if run else "METHOD"
    keys = {"variant": run.variant, "profile": run.profile} if run else {}
    changes = "".join(f", {key}: {value}" for key, value in keys.items() if value)
    remark = ""
    if n_images < FEW and run and not run.profile:
        remark = (
            f" (its recipe is for many more images than {n_images:,}; a profile changes it, see docs/experiments.md)"
        )
    first = ""
    if run and needs_pieces(params, run):
        pieces = f"{{pieces: {PIECES.pieces}, min_count: {PIECES.min_count}}}"
        first = f"give the data set word pieces, in params.yaml:\n  datasets.{name}.vocabulary.word_pieces: {pieces}\n"
    return (
        f"{first}put a run into params.yaml, below runs{remark}:\n"
        f"  {name}-{method}-1: {{data: {name}, method: {method}, seed: 1{changes}}}\n"
        "train and evaluate it:\n"
        f"  dvc repro judge@{name}-{method}-1"
    )


@command(data)
def check(
    name: str = typer.Argument(help="the data set's name in params.yaml"),
    only_verify: bool = typer.Option(False, "--verify", help="only read every shard for its checksum"),
) -> Answer:
    """Look over a prepared data set: tables, problems, and a page with samples in checks/NAME.

    Every shard is read for its checksum, also those that were verified before.
    Exit status 1 where there are errors; warnings leave it at 0.
    """
    from itrcore.data.examine.examination import examine, verify
    from itrcore.files import replacing
    from itrcore.provenance import code_version
    from itrcore.report.data_page import write_page
    from itrcore.report.data_tables import of_severity, print_examined
    from itrcore.settings.load import load

    settings = load().dataset(name)
    if only_verify:
        lines = list(verify(name))
        return Answer({"data": name, "verified": [line.partition(":")[0] for line in lines]}, "\n".join(lines))
    with count_bars() as bars:
        examined = examine(name, settings, bars.show)
    folder = layout.check(name)
    with replacing(folder) as temporary:
        write_page(examined, temporary, {"Checked by code version": code_version()})
    page = f"{folder}/index.html"

    def show() -> None:
        print_examined(examined, Screen(highlight=False))
        say(f"with plots and samples: {page}")

    value = {"data": name, "page": page, **_figures(examined)}
    return Answer(value, show, status=int(bool(of_severity(examined.problems, "error"))))


def _figures(examined: Examined) -> dict[str, object]:
    """What was found, without what is of each region, caption or picture."""
    features = {} if examined.features is None else examined.features.splits
    texts = {} if examined.texts is None else examined.texts.splits
    return {
        "splits": {split: {"images": each.images, "captions": each.captions} for split, each in texts.items()},
        "features": {
            split: {key: value for key, value in vars(each).items() if key != "norms"}
            for split, each in features.items()
        },
        "missing": examined.missing,
        "problems": examined.problems,
    }
