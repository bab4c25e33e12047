"""`itr index`: the vectors of a folder's pictures, or of a data set's, kept for searches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table

from itrcore import layout
from itrcore.answer import Answer
from itrcore.errors import DataError
from itrcore.progress import count_bars
from itrcore.terminal import Screen, say, warn

if TYPE_CHECKING:
    from itrcore.retriever.retriever import Retriever

SEARCHES = Path("searches")
PROPOSED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # how many pictures are scored again, as far as there are more
_SHOWN = 10  # pictures left out, that are named


def index(
    run: str = typer.Argument(help="a run in params.yaml, the folder of a run, or mlflow: and a run of MLflow"),
    pictures: Path | None = typer.Option(None, help="the folder of the pictures"),
    data: str | None = typer.Option(None, help="a data set in params.yaml, in place of a folder"),
    split: str = typer.Option("test", help="of the data set: train, dev or test"),
    kind: str | None = typer.Option(None, help="flat, hnsw or ivfpq; else what suits the number of pictures"),
    recall: float = typer.Option(0.98, help="share of the ten nearest that an approximate index should find"),
    rescore: str | None = typer.Option(
        None,
        help="a run that compares sets: measure what is lost where it scores again only the first ones, with --data",
    ),
    out: Path | None = typer.Option(None, help="the index's folder; else indexes/RUN-PICTURES or indexes/RUN-SPLIT"),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps"),
) -> Answer:
    """Make an index of pictures for itr search, or bring it up to date: only new and changed pictures are encoded."""
    if (pictures is None) == (data is None):
        raise DataError("expected either --pictures or --data")
    if rescore is not None and data is None:
        raise DataError("--rescore measures with captions, which only --data has")
    if kind not in (None, "flat", "hnsw", "ivfpq"):
        raise DataError(f"--kind is {kind}; expected flat, hnsw or ivfpq")
    if split not in ("train", "dev", "test"):
        raise DataError(f"--split is {split}; expected train, dev or test")
    if not 0 < recall <= 1:
        raise DataError(f"--recall is {recall:g}; expected a share above 0, at most 1")
    from itrcore.index.build import build
    from itrcore.retriever.load import load

    where = located(run)
    retriever = load(where, device)
    name = retriever.record.name
    folder = out or layout.index(f"{name}-{pictures.resolve().name}" if pictures is not None else f"{name}-{split}")
    with count_bars() as bars:
        built = build(
            retriever, where, folder, pictures, data, None if data is None else split,
            kind=kind, recall=recall, show=bars.show,  # type: ignore[arg-type]
        )  # fmt: skip
    for number, (picture, why) in enumerate(built.skipped.items()):
        if number < _SHOWN:
            warn(f"left out: {picture} ({why})")
    if len(built.skipped) > _SHOWN:
        warn(f"left out: {len(built.skipped) - _SHOWN:,} more")
    record = built.record
    lines = [
        f"{record.n:,} pictures: {built.encoded:,} encoded now, {built.kept:,} known before, {built.dropped:,} dropped"
    ]
    if record.effort is None:
        lines.append("flat: a search compares every vector, so it is exact")
    else:
        measured = f"recall@10 {record.recall:.3f} against exact search, with {record.queries}"
        lines.append(f"{record.kind}, effort {record.effort}: {measured}")
        if record.recall < recall:
            warn(f"recall is below {recall:g}; itr search --exact compares every vector")
    lost = None if rescore is None else _measure(folder, retriever, rescore, device)

    def show() -> None:
        say("\n".join([*lines, str(folder)]))
        if lost is not None:
            _print(*lost)

    value = {
        "index": folder, "run": record.run, "pictures": record.n, "encoded": built.encoded, "kept": built.kept,
        "dropped": built.dropped, "left_out": built.skipped, "kind": record.kind, "effort": record.effort,
        "recall": record.recall, "rescored": lost and {"plot": lost[1], "found": lost[0]},
    }  # fmt: skip
    return Answer(value, show)


def _measure(
    folder: Path, retriever: Retriever, rescore: str, device: str
) -> tuple[dict[str, dict[int, float]], Path, int]:
    """What is found after scoring again → so many pictures → % of texts; the plot of it; pictures in the index."""
    from itrcore.index.opened import open_index
    from itrcore.index.rescoring import lost
    from itrcore.report.plots import Curve, curves
    from itrcore.retriever.load import load

    index, again = open_index(folder, run=retriever), load(located(rescore), device)
    pairs = [(caption, item) for item in range(len(index)) for caption in index.captions(item)]
    texts, right = map(list, zip(*pairs, strict=True))
    with count_bars() as bars:
        found = lost(index, again, texts, right, PROPOSED, bars.show)
    ks = list(found["same first"])
    lines = [Curve(name, range(len(ks)), [found[name][k] for k in ks]) for name in found]
    title = "Found after scoring again, % of texts"
    ticks = [f"{k:,}" if k < len(index) else "all" for k in ks]
    plot = curves(
        SEARCHES / folder.name,
        f"rescored-{again.record.name}",
        lines,
        title,
        f"proposals that {again.record.name} scores again",
        ticks=ticks,
    )
    return found, SEARCHES / folder.name / plot.path, len(index)


def _print(found: dict[str, dict[int, float]], plot: Path, pictures: int) -> None:
    table = Table("scored again", *found, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for k in found["same first"]:
        table.add_row(f"{k:,}" if k < pictures else f"all {k:,}", *(f"{found[name][k]:.1f}" for name in found))
    Screen(highlight=False).print(table)
    say(str(plot))


def located(run: str) -> str:
    """Where a run lies that is given by its name, its folder, or as one of MLflow; absolute if it is a folder."""
    from itrcore.runs.folder import RUN

    if run.startswith("mlflow:"):
        return run
    if (Path(run) / RUN).exists():
        return str(Path(run).resolve())
    from itrcore.settings.load import load

    return str(layout.run(load().run(run).data, run).resolve())
