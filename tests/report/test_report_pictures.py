"""Runs on pictures in the report: beside runs on regions, each with a label where its input is not real."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from itrcore.errors import DataError
from itrcore.report.html import write_report
from itrcore.report.markdown import as_markdown
from itrcore.report.results import collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, put_run


def test_runs_on_pictures_stand_beside_runs_on_regions_and_what_is_not_real_is_said_of_all(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0, features="pixels"))
    put_run(tmp_path, evaluation("b", "toy", "n", 1, 20.0, features="simulated"))
    results = collect(tmp_path, {"a": "toy", "b": "toy"}, {})
    write_report(results, tmp_path / "report", ReportSettings(title="t"), {}, {})
    console = Console(file=io.StringIO(), width=100)
    print_leaderboard(results, console)
    output = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "pixels and simulated features" in output and "no picture was looked at" in output
    assert "Simulated features" in as_markdown(results, "t")
    pages = [tmp_path / "report" / name for name in ("index.html", "runs/b.html")]
    assert all("<strong>Simulated features</strong> (toy)" in page.read_text("utf-8") for page in pages)
    assert "banner" not in (tmp_path / "report" / "runs" / "a.html").read_text("utf-8").split("<main")[0]


def test_region_features_of_two_kinds_never_share_a_table(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0, features="pixels, other"))
    put_run(tmp_path, evaluation("b", "toy", "m", 2, 20.0, features="simulated"))
    with pytest.raises(DataError, match="region_features is 'other' for a and 'simulated' for b"):
        collect(tmp_path, {"a": "toy", "b": "toy"}, {})
