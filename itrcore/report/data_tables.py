"""The tables of a data set's examination, the same on the terminal and on the page; and printing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from itrcore.data.examine.examination import Examined
from itrcore.data.examine.features import BOTTOM_UP, BOTTOM_UP_NORM, BOTTOM_UP_ZEROS, Features
from itrcore.data.examine.pictures import Pictures
from itrcore.data.examine.problems import Duplicates, Problem, Severity
from itrcore.data.examine.texts import Captions, Words
from itrcore.report.formats import NONE
from itrcore.report.results import NOT_REAL

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_STYLES = {"error": "red bold", "warning": "yellow bold", "note": "bold"}


@dataclass(frozen=True)
class Table:
    """A table: its title, headings of the columns behind the first, rows of a name and the cells."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def tables(examined: Examined) -> list[Table]:
    """A table for each part that was examined, with a column per split."""
    shown: list[Table] = []
    if examined.texts:
        captions = examined.texts.splits
        shown.append(_table("Captions", captions, _CAPTIONS))
        words = {split: figures.words for split, figures in captions.items() if figures.words}
        if words:
            shown.append(_table("Words", words, _WORDS))
    if examined.features and examined.features.splits:
        table = _table(f"Region features: {examined.features.label}", examined.features.splits, _FEATURES)
        if examined.features.label == BOTTOM_UP:
            published = {"zeros": f"about {BOTTOM_UP_ZEROS:.0%}", "mean L2 norm": f"about {BOTTOM_UP_NORM:g}"}
            table.columns.append("published")
            for name, cells in table.rows:
                cells.append(published.get(name, ""))
        shown.append(table)
    if examined.boxes and examined.boxes.splits:
        rows = {
            "boxes": lambda boxes: f"{boxes.count:,}",
            "median share of the picture": lambda boxes: NONE if boxes.area is None else f"{boxes.area:.1%}",
        }
        shown.append(_table("Boxes", examined.boxes.splits, rows))
    if examined.pictures:
        shown.append(_table("Pictures", examined.pictures.splits, _PICTURES))
    duplicates = {
        name: part.duplicates
        for name, part in (
            ("captions", examined.texts),
            ("features", examined.features),
            ("pictures", examined.pictures),
        )
        if part
    }
    if duplicates:
        shown.append(_table("Duplicates", duplicates, _DUPLICATES))
    return shown


def of_severity(problems: Iterable[Problem], severity: Severity) -> list[Problem]:
    """The problems of one severity."""
    return [problem for problem in problems if problem.severity == severity]


def verdict(examined: Examined) -> str:
    """The last line: `no problems`, or how many kinds of each severity."""
    counts = [
        f"{n} {severity}{'' if n == 1 else 's'}"
        for severity in SEVERITIES[:2]
        if (n := len(of_severity(examined.problems, severity)))
    ]
    text = " and ".join(counts) or "no problems"
    return f"{examined.name}: {text}" + (" in what has been made; not all has" if examined.missing else "")


def print_examined(examined: Examined, console: Console) -> None:
    """Print every table, what has not been made yet, the problems with their examples, and the verdict."""
    for table in tables(examined):
        shown = RichTable(title=Text(table.title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
        shown.add_column("")
        for heading in table.columns:
            shown.add_column(Text(heading), justify="right", overflow="fold")
        for name, cells in table.rows:
            shown.add_row(Text(name), *map(Text, cells))
        console.print(shown)
    if examined.label in NOT_REAL:
        console.print(Text(NOT_REAL[examined.label], style="yellow"))
    for path, command in examined.missing.items():
        console.print(Text(f"not made yet: {path}; run: {command}"), soft_wrap=True)
    for severity in reversed(SEVERITIES):
        for problem in of_severity(examined.problems, severity):
            line = Text.assemble((f"{severity}:", _STYLES[severity]), f" {problem.what}: {problem.count:,}")
            console.print(line, soft_wrap=True)
            for example in problem.examples:
                console.print(Text(f"  {example}"), soft_wrap=True)
    console.print(Text(verdict(examined)), soft_wrap=True)


F = TypeVar("F")


def _table(title: str, figures: Mapping[str, F], rows: Mapping[str, Callable[[F], str]]) -> Table:
    cells = [(name, [show(figure) for figure in figures.values()]) for name, show in rows.items()]
    return Table(title, list(figures), cells)


def _range(values: tuple[int, int]) -> str:
    low, high = values
    return f"{low:,}" if low == high else f"{low:,}{NONE}{high:,}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else NONE


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else NONE


def _kinds(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{kind} {count:,}" for kind, count in counts.items()) or NONE


def _size(pictures: Pictures, of: Callable[[list[int]], float]) -> str:
    if not pictures.sizes:
        return NONE
    sides = ([size[side] for size in pictures.sizes.values()] for side in (0, 1))
    return " × ".join(f"{of(side):g}" for side in sides)


def _lengths(words: Words, of: Callable[[np.ndarray], float]) -> str:
    return f"{of(words.lengths):.4g}" if len(words.lengths) else NONE


_CAPTIONS: dict[str, Callable[[Captions], str]] = {
    "images": lambda texts: f"{texts.images:,}",
    "captions": lambda texts: f"{texts.captions:,}",
    "captions per image": lambda texts: _range(texts.per_image),
}
_WORDS: dict[str, Callable[[Words], str]] = {
    "words per caption, mean": lambda words: _lengths(words, np.mean),
    "median": lambda words: _lengths(words, np.median),
    "most": lambda words: _lengths(words, np.max),
    "words": lambda words: f"{int(words.lengths.sum()):,}",
    "unknown to the vocabulary": lambda words: _share(words.unknown, int(words.lengths.sum())),
    "distinct words": lambda words: f"{words.types:,}",
    "distinct unknown": lambda words: _share(words.unknown_types, words.types),
}
_FEATURES: dict[str, Callable[[Features], str]] = {
    "images": lambda features: f"{features.images:,}",
    "stored as": lambda features: features.dtype,
    "regions per image": lambda features: _range(features.regions),
    "width": lambda features: f"{features.width:,}",
    "least value": lambda features: _number(features.minimum),
    "greatest value": lambda features: _number(features.maximum),
    "mean value": lambda features: _number(features.mean),
    "zeros": lambda features: f"{features.zeros:.1%}",
    "mean L2 norm": lambda features: _number(float(features.norms.mean())) if len(features.norms) else NONE,
}
_PICTURES: dict[str, Callable[[Pictures], str]] = {
    "pictures": lambda pictures: f"{len(pictures.sizes):,}",
    "missing": lambda pictures: f"{pictures.missing:,}",
    "formats": lambda pictures: _kinds(pictures.formats),
    "modes": lambda pictures: _kinds(pictures.modes),
    "width × height, least": lambda pictures: _size(pictures, min),
    "median": lambda pictures: _size(pictures, lambda sides: float(np.median(sides))),
    "greatest": lambda pictures: _size(pictures, max),
}
_DUPLICATES: dict[str, Callable[[Duplicates], str]] = {
    "twice on one image": lambda repeats: NONE if repeats.image is None else f"{repeats.image:,}",
    "on several images of a split": lambda repeats: f"{repeats.split:,}",
    "in several splits": lambda repeats: f"{repeats.across:,}",
}
