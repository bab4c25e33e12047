"""Times of a search in tables, exports and the plot: marked where extrapolated, added up for ensembles."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console

from itrcore.report import tradeoff
from itrcore.report.exports import as_csv
from itrcore.report.leaderboard import as_json, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.plots import LIGHT, figure_of
from itrcore.report.results import Results, collect
from itrcore.report.terminal import print_costs
from tests.support.report_data import efficiency, evaluation, put_ensemble, put_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fast method, a slow one, one timed on another device, one from before times were measured; ensembles of two each."""
    root = tmp_path_factory.mktemp("timed")
    runs = {
        "fast": efficiency(True, 0.5), "slow": efficiency(False, 30.0, 5_000), "gpu": efficiency(True, 0.1, device="H100"),
        "old": None,
    }  # fmt: skip
    for number, (name, found) in enumerate(runs.items()):
        put_run(root, evaluation(name, "toy", name, 1, 20.0 + number, efficiency=found))
    for name in ("slow", "gpu", "old"):
        members = {"members": ["fast", name], "profile": None, "encode_image_ms": None, "train_seconds": None}
        put_ensemble(root, evaluation(f"fast-{name}", "toy", None, None, 30.0, **members))
    return root


@pytest.fixture(scope="module")
def results(root: Path) -> Results:
    return collect(
        root,
        dict.fromkeys(("fast", "slow", "gpu", "old"), "toy"),
        dict.fromkeys(("fast-slow", "fast-gpu", "fast-old"), "toy"),
    )


def test_an_ensemble_costs_what_its_members_cost_together(results: Results, root: Path) -> None:
    board = {row.name: row for row in rows(results, "toy")}
    both = board["fast-slow"]
    assert both.values["search_1000_ms"].mean == 30.5 and both.values["image_bytes"].mean == 305.0
    assert both.values["encode_image_ms"].mean == 0.8
    assert both.extrapolated == {"search_100000_ms"}  # as one of them
    for name in ("fast-gpu", "fast-old"):  # times of two devices, or of one member alone, are no sum
        assert not {"search_1000_ms", "image_bytes"} & board[name].values.keys()
    (alone,) = rows(collect(root, {}, {"fast-slow": "toy"}), "toy")
    assert "search_1000_ms" not in alone.values


def test_what_was_extrapolated_is_marked_wherever_it_stands(results: Results) -> None:
    found = as_json(results)["toy"]
    assert found["slow/small"]["extrapolated"] == ["search_100000_ms"] and "extrapolated" not in found["fast/small"]
    assert found["slow/small"]["search_100000_ms"] == 3000.0 and found["slow/small"]["gallery_100000_bytes"] == 3e7
    lines = {line["name"]: line for line in csv.DictReader(io.StringIO(as_csv(results)))}
    assert lines["slow/small"]["extrapolated"] == "search_100000_ms" and not lines["fast/small"]["extrapolated"]
    print_costs(results, console := Console(record=True, width=80))
    shown = {line.split()[0]: line for line in console.export_text().splitlines() if line.strip()}
    assert "3.0 s †" in shown["slow/small"] and "†" not in shown["fast/small"]
    (line,) = (line for line in as_markdown(results, "t").splitlines() if line.startswith("| slow |") and "†" in line)
    assert line.count("†") == 1 and "| 3.0 s † |" in line


def test_names_stand_beside_points_and_not_on_each_other(results: Results) -> None:
    shown = [row for row in rows(results, "toy") if "search_1000_ms" in row.values] * 4  # each point four times
    figure, axes = figure_of(LIGHT, tradeoff.HEIGHT)
    tradeoff.draw(figure, axes, LIGHT, shown, 1_000)
    assert len(figure.texts) == 16
    boxes = [text.get_window_extent() for text in figure.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    inside = axes.get_window_extent()
    assert all(inside.x0 < box.x0 and box.x1 < inside.x1 for box in boxes)


def test_without_times_there_is_no_plot(root: Path, tmp_path: Path) -> None:
    board = rows(collect(root, {"old": "toy"}, {}), "toy")
    assert tradeoff.tradeoff(tmp_path, "plot", board, 1_000) == [] and not list(tmp_path.iterdir())
