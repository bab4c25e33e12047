"""Writes the report's folder: index, a page per run, ensemble, comparison and data set, plots, pictures, leaderboard.json and .md.

Pages link relatively, need no network, and open from disk. Two small scripts sort and filter the index's tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment

from itrcore import layout
from itrcore.data import captions
from itrcore.data.concepts.concepts import Concepts
from itrcore.errors import shown
from itrcore.files import write_json
from itrcore.protocols import contract
from itrcore.protocols.annotations import of_split
from itrcore.registry import WHOLE_SPLIT
from itrcore.report import comparison_pages, concepts_page, explanations, formats, leaderboard, noise, pages
from itrcore.report.analysis import page as analysis_page
from itrcore.report.analysis.page import analysis_of
from itrcore.report.answers import Answer, answer
from itrcore.report.comparison import Compared
from itrcore.report.comparison_pages import comparison_path, comparisons
from itrcore.report.leaderboard import (
    BEHIND,
    COST,
    DIRECTIONS,
    PUBLISHED,
    QUALITY,
    Column,
    Row,
    Stat,
    published_cells,
    reference_cell,
)
from itrcore.report.markdown import as_markdown
from itrcore.report.marks import LEGEND, Marks
from itrcore.report.pictures import Shelf
from itrcore.report.plots import Curve, Plot, curves, recall_bars
from itrcore.report.published_figures import KINDS, beside
from itrcore.report.references import HEADING, Reference, references
from itrcore.report.results import NOT_REAL, Entry, Results, not_real
from itrcore.report.tradeoff import tradeoff
from itrcore.runs.folder import SPLIT
from itrcore.runs.records import AGAINST_COLLAPSE
from itrcore.settings.evaluation import ReportSettings
from itrcore.settings.methods import RECONSTRUCTED


@dataclass(frozen=True)
class ProtocolTable:
    """What the index shows of one protocol on one data set. columns: rsum first, as in every table"""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: list[Row]
    references: list[Reference]


@dataclass(frozen=True)
class Section:
    """What the index shows of one data set.

    answer: none where rows were evaluated on different data, which is never compared
    compared: name of a row → the best one beside it
    """

    data: str
    features: str
    facts: dict[str, str]
    rows: list[Row]
    references: list[Reference]
    plots: list[Plot]
    legend: list[str]
    costs: list[str]  # legend of the costs
    several_data: bool  # rows evaluated on different data: not comparable
    protocols: list[ProtocolTable]  # beside the split as a whole
    concepts: int | None  # how many there are, where a page shows them
    answer: Answer | None
    compared: dict[str, Compared]


def write_report(
    results: Results,
    folder: Path,
    settings: ReportSettings,
    pictures: Mapping[str, Path],
    provenance: Mapping[str, str],
    concepts: Mapping[str, Concepts] = MappingProxyType({}),
    ratings: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Write the whole report into `folder`, which is made if needed and otherwise empty.

    pictures: data set → the folder of its pictures; a placeholder stands for a picture that is not there
    provenance: name → value, at the foot of every page
    concepts: data set → its concepts, where it has some; each gets a page
    ratings: data set → the folder with Crisscrossed Captions' files, where it has them
    Nothing is written outside `folder`; the caller makes the writing atomic (`itrcore.files.replacing`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = _templates(settings, provenance)
    shelf = Shelf(folder, pictures)
    sections = [_section(results, data, folder, concepts.get(data), settings.gallery) for data in results.tables]
    pages.write(
        environment, folder / "index.html", "index.html", "", sections=sections, banner=not_real(results.entries)
    )
    for section in sections:
        if section.data in concepts:
            path = folder / concepts_path(section.data)
            concepts_page.write(environment, path, section.data, concepts[section.data])
    known = {entry.name: entry for entry in results.entries}
    for section in sections:
        data = section.rows[0].entries[0].data  # of transfers too
        picture = partial(shelf.get, data)
        if section.answer is not None:
            comparison_pages.write(environment, folder, section.answer.best, section.rows, section.compared, picture)
        images = captions.read(results.root / layout.captions(data), SPLIT)
        # The annotations are of COCO alone.
        protocols = results.protocols.get(section.data, ()) if results.benchmarks.get(data) == "coco" else ()
        others = of_split(images, protocols, ratings.get(data), data)
        if not section.several_data:
            analysed = analysis_of(results, section.data, section.rows, images, concepts.get(data), others)
            analysis_page.write(environment, folder, analysed, picture)
        marks = Marks(images, others)
        for row in section.rows:
            for entry in row.entries:
                pages.write(
                    environment, folder / entry_path(entry), "entry.html", "../",
                    entry=entry, e=entry.evaluation, row=row, known=known, facts=_entry_facts(entry), section=section,
                    costs=leaderboard.cost_cells(entry.evaluation),
                    protocols=section.protocols,
                    published=beside(
                        entry.evaluation, results.benchmarks.get(entry.table), entry.evaluation.metrics.model_dump()
                    ),
                    plots=_entry_plots(entry, row, folder), banner=not_real([entry]), others=marks,
                    picture=picture,
                )  # fmt: skip
    write_json(folder / "leaderboard.json", leaderboard.as_json(results))
    (folder / "leaderboard.md").write_text(shown(as_markdown(results, settings.title)), "utf-8")
    pages.write_assets(folder, "style.css", "sorting.js", "filtering.js")


def concepts_path(data: str) -> str:
    """The page of a data set's concepts, relative to the report's folder."""
    return f"concepts/{data}.html"


def entry_path(entry: Entry) -> str:
    """The page of a run or ensemble, relative to the report's folder."""
    return f"{entry.evaluation.kind}s/{entry.name}.html"


def _templates(settings: ReportSettings, provenance: Mapping[str, str]) -> Environment:
    rsum, *recalls = _rsum_first(QUALITY)
    return pages.templates(
        title=settings.title, gallery=settings.gallery, provenance=dict(provenance), kinds=KINDS, noise=noise,
        not_real=NOT_REAL, directions=DIRECTIONS,
        quality=(rsum, BEHIND, *recalls), cost=COST, published_columns=_rsum_first(PUBLISHED), published_cells=published_cells,
        whole_split=contract.protocol(WHOLE_SPLIT).title, published_by_others=HEADING, reference_cell=reference_cell,
        entry_path=entry_path, concepts_path=concepts_path, comparison_path=comparison_path,
        drawing=explanations, against_collapse=AGAINST_COLLAPSE, analysis_path=analysis_page.path, others_legend=LEGEND,
        single=lambda column, value: column.format(Stat(value, None)),
    )  # fmt: skip


def _section(results: Results, data: str, folder: Path, concepts: Concepts | None, gallery: int) -> Section:
    entries = results.of(data)
    evaluations = [entry.evaluation for entry in entries]
    first, features = evaluations[0], formats.distinct(e.features for e in evaluations)
    facts = {
        "Evaluated on": f"{first.split} split, {first.n_images:,} images and {first.n_captions:,} captions",
        "Models selected on": formats.distinct(e.selected_on for e in evaluations),
        "Seeds": formats.distinct(sorted({e.seed for e in evaluations if e.seed is not None})),
        "Features": features,
        "R@1 of a random ranking": leaderboard.chance_text(first.n_images, first.n_captions),
        "Data digest": formats.distinct(e.data_digest[: formats.DIGEST_SHOWN] for e in evaluations),
        "Code version": formats.distinct(e.code_version for e in evaluations),
        "Device": formats.distinct(e.device for e in evaluations),
    }
    board = leaderboard.rows(results, data)
    several = len({e.data_digest for e in evaluations}) > 1
    found = None if several else answer(results, data, board, gallery)
    return Section(
        data=data,
        features=features,
        facts=facts,
        rows=board,
        references=references(results, data),
        plots=_section_plots(board, data, folder, gallery),
        legend=leaderboard.board_legend(board),
        costs=leaderboard.cost_legend(board),
        several_data=several,
        protocols=[_protocol_table(results, data, name) for name in results.protocols.get(data, ())],
        concepts=None if concepts is None else len(concepts),
        answer=found,
        compared={} if found is None else comparisons(results, found.best, board),
    )


def _protocol_table(results: Results, data: str, name: str) -> ProtocolTable:
    described, columns = contract.protocol(name), _rsum_first(leaderboard.quality(name))
    board, others = leaderboard.rows(results, data, name), references(results, data, name)
    return ProtocolTable(name, described.title, described.note, columns, board, others)


def _rsum_first(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    return tuple(sorted(columns, key=lambda column: column.key != "rsum"))


def _section_plots(board: list[Row], data: str, folder: Path, gallery: int) -> list[Plot]:
    plots = [
        recall_bars(folder, f"plots/data/{data}/recall-{key}", board, key, f"Recall, {direction}")
        for key, direction in DIRECTIONS.items()
    ]
    plots += tradeoff(folder, f"plots/data/{data}/tradeoff", board, gallery)
    trained = [
        (row.name if len(row.entries) == 1 else f"{row.name} ({len(row.entries)} seeds)", entry.history.evaluations)
        for row in board
        for entry in row.entries
        if entry.history is not None
    ]
    if trained:
        path = f"plots/data/{data}"
        rsum = [Curve(name, [p.epoch for p in points], [p.dev.rsum for p in points]) for name, points in trained]
        loss = [Curve(name, [p.epoch for p in points], [p.losses["total"] for p in points]) for name, points in trained]
        plots.append(curves(folder, f"{path}/rsum", rsum, "rsum on dev", "epoch"))
        plots.append(curves(folder, f"{path}/loss", loss, "Training loss per pair", "epoch", log=True))
    return plots


def _entry_plots(entry: Entry, row: Row, folder: Path) -> list[Plot]:
    if entry.history is None:
        return []
    points, best = entry.history.evaluations, entry.history.best_epoch
    x = [p.epoch for p in points]
    path = f"plots/runs/{entry.name}"
    # A method with one loss term has nothing to tell apart: its total is that term.
    terms = [term for term in points[0].losses if term != "total" and all(term in p.losses for p in points)]
    shown = ["total", *terms] if len(terms) > 1 else ["total"]
    loss = [Curve(term, x, [p.losses[term] for p in points]) for term in shown]
    rsum = Curve(row.name, x, [p.dev.rsum for p in points], mark=best)
    plots = [
        curves(folder, f"{path}/rsum", [rsum], f"rsum on dev (ring: epoch {best:g}, kept)", "epoch"),
        curves(folder, f"{path}/loss", loss, "Training loss per pair", "epoch", log=True),
    ]
    if entry.history.watched:
        sides = {"images": "image_rank", "captions": "text_rank"}
        rank = [Curve(side, x, [getattr(p.collapse, key) for p in points]) for side, key in sides.items()]
        plots.append(curves(folder, f"{path}/rank", rank, "Effective rank of the vectors on dev", "epoch", log=True))
    if inner := [name for name in entry.history.more if name in points[0].inner]:
        lines = [Curve(name.replace("_", " "), x, [p.inner[name] for p in points]) for name in inner]
        plots.append(curves(folder, f"{path}/inner", lines, "Inside the method, on dev", "epoch", log=True))
    return plots


def _entry_facts(entry: Entry) -> dict[str, str]:
    e = entry.evaluation
    facts = {"Data set": e.data, "Features": e.features}
    if e.trained_on is not None:
        facts["Trained on"] = f"{e.trained_on}, as run {e.weights_of}"
    if e.kind == "run":
        facts["Method"] = str(e.method)
        if RECONSTRUCTED in str(e.family):
            facts["Reconstruction"] = (
                "built from its paper's abstract and related methods; its figures are not the paper's"
            )
        facts |= {"Seed": e.elsewhere} if e.elsewhere else {"Profile": str(e.profile), "Seed": str(e.seed)}
    facts |= {
        "Evaluated on": f"{e.split} split, {e.n_images:,} images and {e.n_captions:,} captions",
        "Selected on": e.selected_on,
    }
    if entry.history is not None:
        facts["Epoch kept"] = f"{entry.history.best_epoch:g} of {entry.history.evaluations[-1].epoch:g}"
        if chosen := entry.history.chosen:
            facts["Chosen on dev"] = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
    return facts | {
        "Data digest": e.data_digest[: formats.DIGEST_SHOWN],
        "Code version": e.code_version,
        "Device": ", ".join(part for part in (e.device, e.precision) if part) or formats.NONE,
    }
