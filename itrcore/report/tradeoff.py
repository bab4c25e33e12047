"""The plot of accuracy and speed: each row's rsum against the time of one caption's search, named beside its point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox

from itrcore.report import formats
from itrcore.report.leaderboard import Row
from itrcore.report.plots import Plot, Theme, draw_for_both, legend, plot_of, titles

HEIGHT = 4.375  # inches, a whole number of pixels
KINDS = ("one vector per item", "words compared with regions", "ensemble")
SHAPES = "osD"  # of each kind's points
_SIZE = 6.5
_NEAR = 9  # points from a point's centre to its name,
_STEP = 7  # and how much further each next try is
_CLOSE, _TRIES = 5, 12  # steps within which a name keeps off the bars too, and of all


def tradeoff(folder: Path, path: str, board: Sequence[Row], gallery: int) -> list[Plot]:
    """One plot of the rows that were timed at a gallery of this size; none where no row was. path: as of `recall_bars`"""
    key = f"search_{gallery}_ms"
    if not (shown := [row for row in board if key in row.values]):
        return []
    draw_for_both(folder / path, HEIGHT, partial(draw, rows=shown, gallery=gallery))
    alt = f"Scatter plot of rsum against {_search(gallery)}, {len(shown)} row{'s' * (len(shown) > 1)}, numbers as in the tables."
    for word, row in (("Highest rsum", shown[0]), ("Fastest", min(shown, key=lambda row: row.values[key].mean))):
        alt += f" {word}: {row.name}, rsum {formats.recall(row.values['rsum'].mean)}, {formats.milliseconds(row.values[key].mean)}."
    return [plot_of(path, HEIGHT, alt)]


def draw(figure: Figure, axes: Axes, theme: Theme, rows: Sequence[Row], gallery: int) -> None:
    """A point's shape says of what kind a row is, a hollow one that its time was extrapolated; its bar is rsum's 95 % interval."""
    key = f"search_{gallery}_ms"
    for row in rows:
        x, y, kind = row.values[key].mean, row.values["rsum"].mean, _kind(row)
        axes.plot([x, x], row.noise.interval["rsum"], color=theme.quiet, linewidth=0.9, zorder=2)
        fill = theme.paper if key in row.extrapolated else theme.lines[kind]
        axes.plot([x], [y], SHAPES[kind], color=theme.lines[kind], markerfacecolor=fill, markersize=_SIZE, zorder=3)
    _axes(axes, theme, [row.values[key].mean for row in rows])
    hollow = "; hollow: extrapolated" if any(key in row.extrapolated for row in rows) else ""
    titles(axes, theme, "Accuracy and the time of a search", f"{_search(gallery)}{hollow}")
    kinds = sorted({_kind(row) for row in rows})
    handles = [
        Line2D([], [], color=theme.lines[kind], marker=SHAPES[kind], linestyle="none", markersize=_SIZE)
        for kind in kinds
    ]
    legend(figure, theme, handles, [KINDS[kind] for kind in kinds], 3)
    _name(figure, axes, theme, rows, key)


def _search(gallery: int) -> str:
    return f"one caption's search among {gallery:,} images"


def _kind(row: Row) -> int:
    efficiency = row.entries[0].evaluation.efficiency
    assert efficiency is not None
    return 2 if row.kind == "ensemble" else 0 if efficiency.embeds else 1


def _axes(axes: Axes, theme: Theme, times: Sequence[float]) -> None:
    low, high = min(times), max(times)
    margin = max(1.5, (high / low) ** 0.12)
    axes.set_xscale("log")
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 30 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.margins(y=0.08)
    axes.set_ylabel("rsum", fontsize=8.5, color=theme.quiet)
    axes.grid(color=theme.grid, linewidth=0.8)


def _tick(milliseconds: float) -> str:
    factor, unit = (1e-3, "s") if milliseconds >= 1e3 else (1.0, "ms") if milliseconds >= 1 else (1e3, "µs")
    return f"{milliseconds * factor:g} {unit}"


def _name(figure: Figure, axes: Axes, theme: Theme, rows: Sequence[Row], key: str) -> None:
    """Write each row's name near its point where nothing else is, with a line to it from where it stands further off."""
    FigureCanvasAgg(figure).draw()  # everything else has its place now
    figure.set_layout_engine("none")
    scale, inside, to_pixels = figure.dpi / 72, axes.get_window_extent(), axes.transData.transform
    half = _SIZE * scale / 2
    points = [to_pixels((row.values[key].mean, row.values["rsum"].mean)) for row in rows]
    ends = [[to_pixels((row.values[key].mean, end))[1] for end in row.noise.interval["rsum"]] for row in rows]
    bars = [Bbox.from_extents(x - 1, low, x + 1, high) for (x, _), (low, high) in zip(points, ends, strict=True)]
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in points]
    alone = len({row.label for row in rows}) == len(rows)  # else profiles tell rows of one method apart
    for row, (x, y) in zip(rows, points, strict=True):
        text = figure.text(
            0, 0, row.label if alone else row.name, fontsize=7.5, color=theme.ink, ha="center", va="center",
            parse_math=False, transform=None,
        )  # fmt: skip
        width, height = text.get_window_extent().size
        boxes = [
            (Bbox.from_bounds(x + right - width / 2, y + up - height / 2, width, height), step)
            for right, up, step in _places(width, height, scale)
        ]
        boxes = [(box, step) for box, step in boxes if _within(box, inside) and not _meets(box, taken)] or boxes
        close = [(box, step) for box, step in boxes if step < _CLOSE and not _meets(box, bars)]
        box, step = (close or boxes)[0]
        taken.append(box)
        text.set_position(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        if step:
            end = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
            share = half / math.dist((x, y), end)  # from the point's edge on
            begin = (x + share * (end[0] - x), y + share * (end[1] - y))
            figure.add_artist(Line2D(*zip(begin, end, strict=True), color=theme.quiet, linewidth=0.6, transform=None))


def _places(width: float, height: float, scale: float) -> Iterator[tuple[float, float, int]]:
    """Centres for a text of this size around a point at 0, in pixels, nearest first; and how many steps each is further off."""
    for step in range(_TRIES):
        gap = (_NEAR + step * _STEP) * scale
        for angle in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202):
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            yield cos * (gap + width / 2), sin * (gap + height / 2), step


def _within(box: Bbox, other: Bbox) -> bool:
    return bool(other.x0 < box.x0 and box.x1 < other.x1 and other.y0 < box.y0 and box.y1 < other.y1)


def _meets(box: Bbox, others: Sequence[Bbox]) -> bool:
    return any(box.overlaps(other) for other in others)
