"""The page of a data set's error analysis, its plots, and its figures as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment

from itrcore import layout
from itrcore.data.captions import Image
from itrcore.data.concepts.concepts import KINDS, Concepts
from itrcore.files import write_json
from itrcore.protocols.annotations import Annotation
from itrcore.protocols.contract import SIDES
from itrcore.report import pages
from itrcore.report.analysis.analysis import Agreement, Analysis, Parted, analyse
from itrcore.report.leaderboard import Row
from itrcore.report.pictures import Picture
from itrcore.report.plots import Curve, Plot, curves
from itrcore.report.ranked import read_ranks
from itrcore.report.results import Results, not_real


def path(data: str) -> str:
    """The page, relative to the report's folder; its figures lie beside it as JSON."""
    return f"analysis/{data}.html"


def analysis_of(
    results: Results,
    data: str,
    rows: Sequence[Row],
    images: Sequence[Image],
    concepts: Concepts | None,
    annotations: Sequence[Annotation],
) -> Analysis:
    """The analysis of a data set, whose ranks are read.

    rows: of its leaderboard; images, annotations: of its test split. `DataError` where ranks are missing or damaged, or concepts
    were found with another tagger.
    """
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    ranked = {entry.name: read_ranks(results.root, entry.evaluation, image_of) for entry in results.of(data)}
    return analyse(data, rows, ranked, images, _kinds(results.root, images, concepts), annotations)


def _kinds(root: Path, images: Sequence[Image], concepts: Concepts | None) -> dict[str, np.ndarray]:
    """Kind → the concepts of that kind that each caption names; empty without concepts."""
    if concepts is None:
        return {}
    from itrcore.data.concepts.naming import named  # here: importing nltk takes long

    names = named(concepts, [caption for image in images for caption in image.captions], root / layout.NLTK)
    of = np.array(concepts.kinds)
    return {kind: names[:, of == kind] for kind in KINDS if kind in concepts.kinds}


def write(
    environment: Environment, folder: Path, analysis: Analysis, picture: Callable[[str | None], Picture | None]
) -> None:
    """Write page, plots and JSON. folder: of the report; picture: the report's copy of one of the data set, by its file name"""
    data = analysis.data
    pages.write(
        environment, folder / path(data), "analysis.html", "../",
        a=analysis, sides=SIDES, plots=[_plot(folder, analysis, parted) for parted in analysis.parted if _ordered(parted)],
        banner=not_real(entry for row in analysis.rows for entry in row.entries),
        picture=picture,
        tint=lambda kappa: f"{np.nan_to_num(kappa).clip(0.0):.2f}",
    )  # fmt: skip
    write_json((folder / path(data)).with_suffix(".json"), as_json(analysis))


def _ordered(parted: Parted) -> bool:
    return parted.grouping.key != "kinds"


def _plot(folder: Path, analysis: Analysis, parted: Parted) -> Plot:
    grouping = parted.grouping
    labels = [group.label for group in grouping.groups]
    lines = [
        Curve(row.name, range(len(labels)), [rate.value for rate in rates])
        for row, rates in zip(analysis.rows, parted.rates, strict=True)
    ]
    title = f"R@1, {SIDES[grouping.side]}, %"
    place = f"plots/analysis/{analysis.data}/{grouping.key}-{grouping.side}"
    first, (low, *_, high) = analysis.rows[0].name, lines[0].y
    alt = f"Line plot of {title}, by {grouping.what}, {len(lines)} lines, numbers as in the table. "
    alt += f"{first}: from {low:.1f} for {labels[0]} to {high:.1f} for {labels[-1]}."
    return replace(curves(folder, place, lines, title, grouping.what, ticks=labels), alt=alt)


def as_json(analysis: Analysis) -> dict[str, Any]:
    """All figures of the page by the names of rows; percentages are from 0 to 100, and what has no value is null."""
    names = [row.name for row in analysis.rows]
    return {
        "images": analysis.images,
        "captions": analysis.captions,
        "recall": [
            {
                "direction": parted.grouping.side,
                "by": parted.grouping.key,
                "queries": {group.label: int(group.members.sum()) for group in parted.grouping.groups},
                "r1": dict(zip(names, _rates(parted), strict=True)),
            }
            for parted in analysis.parted
        ],
        "hubness": {
            hubs.side: {
                "k": hubs.k,
                "random": {"skewness": hubs.chance[0], "never": hubs.chance[1]},
                "rows": {name: asdict(of_row) for name, of_row in zip(names, hubs.rows, strict=True)},
                "largest": [asdict(shown) for shown in hubs.largest],
            }
            for hubs in analysis.hubs
        },
        "agreement": {each.side: dict(_agreement(each, names)) for each in analysis.agreement},
        "unlabelled": [asdict(line) for line in analysis.unlabelled],
    }


def _rates(parted: Parted) -> Iterator[Mapping[str, Any]]:
    labels = [group.label for group in parted.grouping.groups]
    for rates in parted.rates:
        yield {label: asdict(rate) for label, rate in zip(labels, rates, strict=True)}


def _agreement(each: Agreement, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    yield "wrong", dict(zip(names, each.wrong, strict=True))
    for key, matrix in (("also_wrong", each.also_wrong), ("kappa", each.kappa)):
        yield (
            key,
            {name: dict(zip(names, map(_number, row), strict=True)) for name, row in zip(names, matrix, strict=True)},
        )
    yield "missed_by_all", each.missed
    yield "only", each.only


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
