"""The report's plots, each drawn for light and for dark pages: recall bars and training curves, as PNG.

Figures are made without pyplot, so nothing stays behind in matplotlib's global state. Both themes are one figure, which is
painted, given the other colours and painted again: plots are what the report's time goes into.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

from itrcore.report import formats
from itrcore.report.leaderboard import Row

CSS_DPI = 96  # an inch of a figure is this many pixels of a page,
SHARP = 2  # and twice as many in the file, for dense screens
WIDTH = 5.2  # inches
_COMPRESSION = 4  # files hardly larger than with zlib's usual 6, in two thirds of the time


@dataclass(frozen=True)
class Theme:
    """Colours for one kind of page; `lines` and `bars` are safe for colour-blind readers (after Okabe and Ito)."""

    suffix: str
    paper: str
    ink: str
    quiet: str
    grid: str
    lines: tuple[str, ...]
    bars: tuple[str, str, str]  # R@1, R@5, R@10: shades of one hue, so that their order also shows in grey

    @property
    def colours(self) -> tuple[str, ...]:
        """All of them, no two the same, in the same order for every theme."""
        return self.paper, self.ink, self.quiet, self.grid, *self.lines, *self.bars


LIGHT = Theme(
    "", "#ffffff", "#1b1f24", "#57606a", "#e3e6ea",
    ("#0072b2", "#d55e00", "#00835f", "#b4548c", "#4d4d4d", "#a87400"),
    ("#0b4f7d", "#3d8fc4", "#93c3e3"),
)  # fmt: skip
DARK = Theme(
    "-dark", "#14171b", "#e6e8eb", "#a5adb6", "#2c323a",
    ("#56b4e9", "#f08a3c", "#2fc79a", "#e39ac4", "#d0d0d0", "#f0e442"),
    ("#a9d8f5", "#4a9fd4", "#24577a"),
)  # fmt: skip
THEMES = (LIGHT, DARK)
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vP"


@dataclass(frozen=True)
class Curve:
    """One line: its points, and the group whose colour and name it shares; `mark` is the x of the point to mark."""

    group: str
    x: Sequence[float]
    y: Sequence[float]
    mark: float | None = None


@dataclass(frozen=True)
class Plot:
    """A drawn plot: paths of both themes, relative to the report's folder; size in page pixels."""

    path: str
    dark: str
    width: int
    height: int
    alt: str


def recall_bars(folder: Path, path: str, board: Sequence[Row], direction: str, title: str) -> Plot:
    """Bars of R@1, R@5 and R@10 for each row, with the deviation over seeds where there are several.

    `direction` is `i2t` or `t2i`; `path` is relative to `folder` and has no ending.
    """
    height = 0.95 + 0.62 * len(board)

    def draw(figure: Figure, axes: Axes, theme: Theme) -> None:
        _draw_bars(axes, theme, board, direction)
        titles(axes, theme, title, "recall, %")
        handles, labels = axes.get_legend_handles_labels()
        legend(figure, theme, handles, labels, 3)

    draw_for_both(folder / path, height, draw)
    best = formats.recall(board[0].values[f"{direction}_r1"].mean)
    alt = f"Bar chart of {title}, {len(board)} rows, numbers as in the table. First row {board[0].name}: R@1 {best} %."
    return plot_of(path, height, alt)


def _draw_bars(axes: Axes, theme: Theme, board: Sequence[Row], direction: str) -> None:
    thick = 0.25
    for place, (key, colour) in enumerate(zip(("r1", "r5", "r10"), theme.bars, strict=True)):
        stats = [row.values[f"{direction}_{key}"] for row in board]
        y = [number + (place - 1) * thick for number in range(len(board))]
        axes.barh(y, [s.mean for s in stats], thick * 0.92, color=colour, label=f"R@{key[1:]}", linewidth=0)
        for at, stat in zip(y, stats, strict=True):
            if stat.std is not None:
                axes.errorbar(stat.mean, at, xerr=stat.std, color=theme.ink, elinewidth=0.9, capsize=1.8, capthick=0.9)
            end = stat.mean + (stat.std or 0.0) + 1.5
            axes.text(end, at, formats.recall(stat.mean), va="center", fontsize=7.5, color=theme.ink)
    axes.set_xlim(0, 112)  # room for a number behind a bar of 100
    axes.set_xticks(range(0, 101, 20))
    axes.set_ylim(len(board) - 0.45, -0.55)
    axes.set_yticks(range(len(board)), labels=[_wrapped(row.name) for row in board], parse_math=False)
    axes.tick_params(axis="y", colors=theme.ink)
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)


def curves(
    folder: Path,
    path: str,
    lines: Sequence[Curve],
    title: str,
    x_label: str,
    log: bool = False,
    ticks: Sequence[str] = (),
) -> Plot:
    """Lines over epochs; lines of one group share colour, marker and legend entry.

    log: where all values allow it; ticks: what x = 0, 1, … are called, where x is no number
    """
    groups = list(dict.fromkeys(line.group for line in lines))
    height = 3.1 + 0.2 * math.ceil(len(groups) / 2)

    def draw(figure: Figure, axes: Axes, theme: Theme) -> None:
        handles: dict[str, Line2D] = {}
        for line in lines:
            number = groups.index(line.group)
            colour = theme.lines[number % len(theme.lines)]
            dash = DASHES[number // len(theme.lines) % len(DASHES)]
            marker = MARKERS[number % len(MARKERS)]
            (drawn,) = axes.plot(
                line.x, line.y, color=colour, linestyle=dash, linewidth=1.3, marker=marker, markersize=2.6
            )
            if line.mark is not None and line.mark in line.x:
                at = list(line.x).index(line.mark)
                axes.plot([line.x[at]], [line.y[at]], marker=marker, markersize=8, color=colour, markerfacecolor="none")
            handles.setdefault(line.group, drawn)
        _curve_axes(axes, theme, lines, log)
        if ticks:
            axes.set_xticks(range(len(ticks)), labels=ticks, parse_math=False)
        titles(axes, theme, title, x_label)
        if len(groups) > 1:
            legend(figure, theme, list(handles.values()), list(handles), 2)

    draw_for_both(folder / path, height, draw)
    last = lines[0]
    alt = f"Line plot of {title}, {len(lines)} {'line' if len(lines) == 1 else 'lines'}. "
    alt += f"{last.group}: from {last.y[0]:.4g} in epoch {last.x[0]:g} to {last.y[-1]:.4g} in epoch {last.x[-1]:g}."
    return plot_of(path, height, alt)


def _curve_axes(axes: Axes, theme: Theme, lines: Sequence[Curve], log: bool) -> None:
    low = min(min(line.y) for line in lines)
    high = max(max(line.y) for line in lines)
    if log and low > 0:
        axes.set_yscale("log")
        # Over a short range whole decades leave an axis with one number or none.
        subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 5 else tuple(range(1, 10))
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)


def draw_for_both(path: Path, height: float, draw: Callable[[Figure, Axes, Theme], None]) -> None:
    """Write the plot that `draw` draws into an empty figure, once for each theme. path: without theme and ending"""
    drawn, *others = THEMES
    figure, axes = figure_of(drawn, height)
    draw(figure, axes, drawn)
    _save(figure, path.with_name(f"{path.name}{drawn.suffix}.png"))
    figure.set_layout_engine("none")  # everything has its place now
    for theme in others:
        _recolour(figure, dict(zip(drawn.colours, theme.colours, strict=True)))
        _save(figure, path.with_name(f"{path.name}{theme.suffix}.png"))
        drawn = theme


def _recolour(figure: Figure, new: Mapping[str, str]) -> None:
    """Give everything in a figure that has one of these colours (`#rrggbb`) its new one."""
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            held = getattr(artist, f"get_{part}", None)
            if held is not None and (colour := _hex(held())) in new:
                getattr(artist, f"set_{part}")(new[colour])


def _hex(colour: Any) -> str:
    """A colour, or a list of one, as `#rrggbb`; "" for what is no colour, such as "auto", or is not opaque."""
    colours = [] if isinstance(colour, str) and colour in ("auto", "none") else list(to_rgba_array(colour))
    return str(to_hex(colours[0])) if len(colours) == 1 and colours[0][3] == 1 else ""


def figure_of(theme: Theme, height: float) -> tuple[Figure, Axes]:
    """An empty figure of a theme. height: in inches"""
    figure = Figure(figsize=(WIDTH, height), dpi=CSS_DPI * SHARP, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.paper)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.quiet)
    axes.tick_params(colors=theme.quiet, labelsize=8.5, length=0, left=False, bottom=False)
    return figure, axes


def titles(axes: Axes, theme: Theme, title: str, x_label: str) -> None:
    """Title above, and what x is below."""
    # At y=1, where matplotlib would put it as well, after a long search for things in its way.
    axes.set_title(title, loc="left", y=1.0, fontsize=10, color=theme.ink, fontweight="bold", parse_math=False)
    axes.set_xlabel(x_label, fontsize=8.5, color=theme.quiet)


def legend(figure: Figure, theme: Theme, handles: Sequence[Artist], labels: Sequence[str], columns: int) -> None:
    """Below the axes."""
    legend = figure.legend(
        handles, [_wrapped(label, 34) for label in labels], loc="outside lower left", ncols=columns, frameon=False,
        fontsize=8.5, labelcolor=theme.ink, handlelength=1.6, columnspacing=1.4, borderpad=0.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _wrapped(name: str, width: int = 22) -> str:
    if len(name) <= width:
        return name
    cut = max((name.rfind(mark, 0, width) for mark in "/-_ "), default=-1) + 1 or width
    return f"{name[:cut]}\n{_wrapped(name[cut:], width)}"


def _save(figure: Figure, path: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # `savefig` would draw twice
    path.parent.mkdir(parents=True, exist_ok=True)
    # The paper is opaque. No version of matplotlib in the file: the same results give the same bytes.
    image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert(
        "RGB"
    )
    image.save(path, "PNG", dpi=(figure.dpi, figure.dpi), compress_level=_COMPRESSION)


def plot_of(path: str, height: float, alt: str) -> Plot:
    """A drawn plot's record. path: without theme and ending; height: in inches"""
    return Plot(
        f"{path}{LIGHT.suffix}.png", f"{path}{DARK.suffix}.png", round(WIDTH * CSS_DPI), round(height * CSS_DPI), alt
    )
