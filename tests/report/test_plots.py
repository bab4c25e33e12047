"""The plots of both themes: one figure, painted twice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itrcore.report import plots
from itrcore.report.leaderboard import Stat
from itrcore.report.plots import DARK, LIGHT, Curve, curves, recall_bars
from itrcore.report.tradeoff import tradeoff

KEYS = ("r1", "r5", "r10")


def board() -> list[Any]:
    """Rows with and without a deviation over seeds."""
    values = [{f"i2t_{key}": Stat(20.0 * i + 5, std) for i, key in enumerate(KEYS)} for std in (None, 2.5)]
    return [SimpleNamespace(name=f"method_{i}/a long profile name", values=row) for i, row in enumerate(values)]


def timed() -> list[Any]:
    """Rows of each kind, measured and extrapolated, two of them at one point."""
    embeds = [SimpleNamespace(evaluation=SimpleNamespace(efficiency=SimpleNamespace(embeds=given))) for given in (1, 0)]
    return [
        SimpleNamespace(
            name=f"row {i}", label=f"row {i}", kind="run" if i < 3 else "ensemble", entries=[embeds[i % 2]],
            values={"search_1000_ms": Stat(4.0 ** (i % 3), None), "rsum": Stat(300.0 + i % 3, None)},
            noise=SimpleNamespace(interval={"rsum": (290.0, 310.0)}), extrapolated={"search_1000_ms"} if i % 2 else set(),
        )
        for i in range(5)
    ]  # fmt: skip


def draw(folder: Path) -> list[Path]:
    many = [Curve(f"group {i % 8}", [1, 2, 3], [10.0 + i, 20.0, 40.0 * (i + 1)]) for i in range(9)]
    drawn = [
        recall_bars(folder, "bars", board(), "i2t", "Recall"),
        curves(folder, "many", many, "Loss", "epoch", log=True),
        *tradeoff(folder, "timed", timed(), 1_000),
        curves(folder, "one", [Curve("rsum", [1, 2, 3], [300.0, 310.5, 305.0], mark=2)], "rsum", "epoch"),
    ]
    return [folder / path for plot in drawn for path in (plot.path, plot.dark)]


def test_a_theme_painted_second_looks_as_if_it_had_been_drawn_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = draw(tmp_path / "as it is")
    monkeypatch.setattr(plots, "THEMES", (DARK, LIGHT))
    for one, other in zip(drawn, draw(tmp_path / "the other way round"), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(other)))


@pytest.mark.parametrize("theme", plots.THEMES)
def test_the_colours_of_a_theme_differ(theme: plots.Theme) -> None:
    """Or what has the one could not be told from what has the other."""
    assert len({colour.lower() for colour in theme.colours}) == len(theme.colours)


def test_the_same_plots_give_the_same_bytes_and_sharp_pictures(tmp_path: Path) -> None:
    for one, other in zip(draw(tmp_path / "one"), draw(tmp_path / "other"), strict=True):
        assert one.read_bytes() == other.read_bytes()
        with Image.open(one) as image:
            assert image.width == int(plots.WIDTH * plots.CSS_DPI * plots.SHARP)
            assert image.info["dpi"] == pytest.approx((192, 192), abs=0.1)
            assert set(image.info) == {"dpi"}
