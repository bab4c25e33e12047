"""A training's course in the report, also where dev was evaluated several times an epoch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from itrcore.errors import DataError
from itrcore.report.html import write_report
from itrcore.report.results import collect
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, history, put_run, write

RUNS = dict.fromkeys(("often", "once"), "toy")


def put(root: Path) -> Path:
    """A run of two evaluations an epoch, the last after one and a half, and one of one evaluation an epoch."""
    for name in RUNS:
        put_run(root, evaluation(name, "toy", name, 1, 20.0))
    write(root / "runs" / "toy" / "often" / "history.json", history(an_epoch=2))
    return root


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, folder = put(tmp_path_factory.mktemp("results")), tmp_path_factory.mktemp("report")
    write_report(collect(root, RUNS, {}), folder, ReportSettings(title="t"), {}, {})
    return folder


@pytest.mark.parametrize(
    ("name", "epochs", "kept"), [("often", ["0.5", "1", "1.5 (kept)"], "1.5"), ("once", ["1", "2", "3 (kept)"], "3")]
)
def test_the_page_has_a_row_for_every_evaluation_by_the_epochs_done(
    name: str, epochs: list[str], kept: str, report: Path
) -> None:
    page = (report / "runs" / f"{name}.html").read_text("utf-8")
    table = page.split("Every evaluation on dev as a table")[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == epochs
    assert re.findall(r"<dt>Epoch kept</dt>\s*<dd>(.*?)</dd>", page) == [f"{kept} of {kept}"]
    assert f"rsum on dev (ring: epoch {kept}, kept)" in page
    first, last = epochs[0], kept
    assert f"from 120 in epoch {first} to 240 in epoch {last}." in page  # what the curve's alternative text says


def test_curves_of_all_runs_stand_over_the_same_epochs(report: Path) -> None:
    page = (report / "index.html").read_text("utf-8")
    (alt,) = re.findall(r'alt="(Line plot of rsum on dev, 2 lines[^"]*)"', page)
    assert re.search(r"from 120 in epoch (0\.5|1) to 240 in epoch (1\.5|3)\.", alt)


@pytest.mark.parametrize(
    "content", [{"epochs": history()["evaluations"], "best_epoch": 3}, {**history(), "evaluations": []}]
)
def test_a_history_of_another_form_is_an_error_of_the_training(content: object, tmp_path: Path) -> None:
    write(put(tmp_path) / "runs" / "toy" / "once" / "history.json", content)
    with pytest.raises(DataError, match=r"history\.json: evaluations: .*dvc repro train@once"):
        collect(tmp_path, RUNS, {})
