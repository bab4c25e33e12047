"""The HTML page of a data set's examination: tables, problems, plots and sample images with their region boxes.

It links relatively, needs no network and no script, and opens from disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from itrcore.data.examine.examination import Examined, Sample
from itrcore.report import pages
from itrcore.report.data_tables import SEVERITIES, of_severity, tables, verdict
from itrcore.report.pictures import Picture, Shelf
from itrcore.report.plots import Curve, Plot, curves
from itrcore.report.results import NOT_REAL

MOST_BOXES = 36
_BINS = 40


@dataclass(frozen=True)
class Box:
    """A region's box on the page: corner and size in pixels of the picture."""

    number: int
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True)
class Shown:
    """A sample with its picture's copy, where there is one, and the boxes to draw over it."""

    sample: Sample
    picture: Picture | None
    boxes: list[Box]


def write_page(examined: Examined, folder: Path, provenance: Mapping[str, str]) -> None:
    """Write `index.html` and what it shows into `folder`, which is made if needed and otherwise empty.

    provenance: name → value, at the foot of the page. The caller makes the writing atomic (`itrcore.files.replacing`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages.write(
        pages.templates(), folder / "index.html", "data.html", "",
        examined=examined,
        tables=tables(examined),
        verdict=verdict(examined),
        problems=[problem for severity in SEVERITIES for problem in of_severity(examined.problems, severity)],
        plots=_plots(examined, folder),
        shown=_shown(examined, folder),
        not_real=NOT_REAL.get(examined.label or ""),
        banner={},
        provenance=provenance,
    )  # fmt: skip
    pages.write_assets(folder, "style.css")


def _shown(examined: Examined, folder: Path) -> list[Shown]:
    shown = []
    for number, sample in enumerate(examined.samples):
        picture = None
        if sample.picture is not None:
            # A folder for each copy: pictures of one name may come from different folders.
            picture = Shelf(folder, {str(number): sample.picture.parent}).get(str(number), sample.picture.name)
        shown.append(Shown(sample, picture, _boxes(sample) if picture else []))
    return shown


def _boxes(sample: Sample) -> list[Box]:
    boxes = []
    for number, corners in enumerate([] if sample.boxes is None else sample.boxes[:MOST_BOXES], 1):
        x1, y1, x2, y2 = (float(value) for value in corners)
        if np.isfinite(corners).all() and x2 > x1 and y2 > y1:
            boxes.append(Box(number, *(f"{value:.1f}" for value in (x1, y1, x2 - x1, y2 - y1))))
    return boxes


def _plots(examined: Examined, folder: Path) -> list[Plot]:
    lengths = {
        split: figures.words.lengths
        for split, figures in (examined.texts.splits if examined.texts else {}).items()
        if figures.words is not None
    }
    norms = {split: figures.norms for split, figures in (examined.features.splits if examined.features else {}).items()}
    plots = [
        _histogram(folder, "caption-lengths", lengths, "Captions by their length, %", "words"),
        _histogram(folder, "region-norms", norms, "Regions by the norm of their features, %", "L2 norm"),
    ]
    return [plot for plot in plots if plot]


def _histogram(folder: Path, name: str, values: Mapping[str, np.ndarray], title: str, label: str) -> Plot | None:
    """A line per split: the share of its values in each bin, the bins the same for all; None where there are no values."""
    values = {split: numbers for split, numbers in values.items() if len(numbers)}
    if not values:
        return None
    edges = _edges(list(values.values()))
    lines = [
        Curve(
            split,
            ((edges[:-1] + edges[1:]) / 2).tolist(),
            (np.histogram(numbers, edges)[0] * 100 / len(numbers)).tolist(),
        )
        for split, numbers in values.items()
    ]
    medians = ", ".join(f"{split} {np.median(numbers):.4g}" for split, numbers in values.items())
    alt = f"Line plot of {title}, over {label}. Medians: {medians}."
    return replace(curves(folder, f"plots/{name}", lines, title, label), alt=alt)


def _edges(values: Sequence[np.ndarray]) -> np.ndarray:
    """Whole numbers in bins around whole numbers; others in bins of one size from 0."""
    greatest = max(float(numbers.max()) for numbers in values)
    if all(np.issubdtype(numbers.dtype, np.integer) for numbers in values):
        step = int(greatest) // (2 * _BINS) + 1
        return np.arange(-0.5, greatest + step, step)
    return np.linspace(0.0, greatest * (1 + 1e-6) or 1.0, _BINS + 1)
