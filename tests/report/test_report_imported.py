"""Imported runs in the report: each a row of its own, with its checkpoint, and nothing that only a training has."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from itrcore.errors import DataError
from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.results import Results, collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, imported, put_ensemble, put_run

CHECKPOINT = {
    "path": "a <b>.pth", "sha256": "c" * 64, "epoch": None, "best_rsum": None, "vocabulary": "the <words> of toy",
}  # fmt: skip
RUNS = dict.fromkeys(("trained-1", "trained-2", "released", "other"), "toy")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two trained seeds of a method and two imported runs of the same method and profile."""
    root = tmp_path_factory.mktemp("results")
    for seed, r1 in ((1, 20.0), (2, 30.0)):
        put_run(root, evaluation(f"trained-{seed}", "toy", "esa", seed, r1))
    put_run(root, imported("released", "toy", "esa", 60.0))
    put_run(root, imported("other", "toy", "esa", 50.0, checkpoint=CHECKPOINT))
    return collect(root, RUNS, {})


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(results, folder, ReportSettings(title="t"), {}, {})
    return folder


def test_imported_runs_never_mix_with_trained_seeds_of_their_method(results: Results) -> None:
    board = rows(results, "toy")
    assert [row.name for row in board] == ["released", "other", "esa/small"]
    assert board[2].values["i2t_r1"].mean == pytest.approx(25.0)
    assert "train_seconds" not in board[0].values


def test_imported_stands_where_seeds_stand_and_no_profile(results: Results, report: Path) -> None:
    text = as_markdown(results, "t")
    assert "| released (esa) | – | synthetic | imported | 60.0 |" in text
    assert "| esa | small | synthetic | 2 (1, 2) |" in text
    assert "Models selected on: dev, unknown (imported)." in text
    page = (report / "index.html").read_text("utf-8")
    assert '<td class="text">imported</td>' in page
    assert ">released</a> <small>esa</small></th>" in page  # its method; below ours stands the profile
    assert ">esa <small>small</small></th>" in page
    assert "seeds" not in as_json(results)["toy"]["released"]
    assert as_json(results)["toy"]["esa/small"]["seeds"] == 2
    console = Console(width=80, file=io.StringIO(), color_system=None)
    print_leaderboard(results, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert next(line.split()[:3] for line in lines if "released" in line) == ["released", "*", "60.0"]
    assert any(line.strip() == "* imported, not trained here" for line in lines)


def test_its_page_names_its_checkpoint_and_shows_no_training(report: Path) -> None:
    page = (report / "runs" / "released.html").read_text("utf-8")
    assert "Imported from <code>/models/f30k/model_best.pth</code>, saved in epoch 22, best rsum 512.3" in page
    assert "c" * 64 in page
    assert "Captions read with f30k_precomp_vocab.json." in page
    assert "<h2>Training</h2>" not in page
    assert "<dt>Profile</dt>" not in page  # of the settings that its sizes were laid over
    trained = (report / "runs" / "trained-1.html").read_text("utf-8")
    assert "Imported from" not in trained and "Captions read" not in trained and "<dt>Profile</dt>" in trained
    drawn = {path.parent.name for path in (report / "plots" / "runs").rglob("*.png")}
    assert drawn == {"trained-1", "trained-2"}


def test_a_checkpoint_that_says_little_is_named_all_the_same(report: Path) -> None:
    page = (report / "runs" / "other.html").read_text("utf-8")
    assert "Imported from <code>a &lt;b&gt;.pth</code>. SHA-256" in page
    assert "Captions read with the &lt;words&gt; of toy." in page


def test_a_report_of_imported_runs_alone_has_no_curves(results: Results, tmp_path: Path) -> None:
    alone = replace(results, entries=tuple(entry for entry in results.entries if entry.name == "released"))
    write_report(alone, tmp_path, ReportSettings(title="t"), {}, {})
    assert {path.stem for path in tmp_path.rglob("*.png")} == {
        f"recall-{side}{theme}" for side in ("i2t", "t2i") for theme in ("", "-dark")
    }
    seeds = (tmp_path / "index.html").read_text("utf-8").split("<dt>Seeds</dt>")[1].split("</dd>")[0]
    assert seeds == "<dd>–"


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a trained run, evaluated in bf16, an imported one, and their ensemble."""
    root = tmp_path_factory.mktemp("mixed")
    put_run(root, evaluation("a", "toy", "esa", 1, 20.0, precision="bf16", device="cuda:0", code_version="new1"))
    put_run(root, imported("b", "toy", "esa", 60.0, code_version="old1", precision=None))
    both = {"selected_on": "dev, unknown (imported)", "code_version": "new1, old1", "members": ["a", "b"]}
    put_ensemble(root, evaluation("both", "toy", None, None, 70.0, profile=None, train_seconds=None, **both))
    results = collect(root, {"a": "toy", "b": "toy"}, {"both": "toy"})
    write_report(results, root / "report", ReportSettings(title="t"), {}, {})
    (root / "report" / "board.md").write_text(as_markdown(results, "t"), "utf-8")
    return root / "report"


def fact(page: Path, name: str) -> str:
    text: str = page.read_text("utf-8").split(f"<dt>{name}</dt><dd>")[1].split("</dd>")[0]
    return text


def test_values_that_an_ensemble_joins_are_listed_once_each(mixed: Path) -> None:
    assert fact(mixed / "index.html", "Models selected on") == "dev, unknown (imported)"
    assert fact(mixed / "index.html", "Code version") == "new1, old1"
    assert fact(mixed / "index.html", "Device") == "cuda:0, cpu"
    assert "Models selected on: dev, unknown (imported)." in (mixed / "board.md").read_text("utf-8")


def test_a_page_shows_in_which_precision_it_was_encoded_where_that_is_known(mixed: Path) -> None:
    pages = (mixed / "runs" / "a.html", mixed / "runs" / "b.html", mixed / "ensembles" / "both.html")
    assert [fact(page, "Device") for page in pages] == ["cuda:0, bf16", "cpu", "cpu"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (evaluation("a", "toy", "esa", None, 1.0), "a trained run needs a seed"),
        (evaluation("a", "toy", "esa", 1, 1.0, checkpoint=CHECKPOINT), "needs its checkpoint, and nothing else"),
        (imported("a", "toy", "esa", 1.0, checkpoint=None), "an imported run needs its checkpoint"),
        (
            imported("a", "toy", "esa", 1.0, checkpoint={k: v for k, v in CHECKPOINT.items() if k != "vocabulary"}),
            "checkpoint.vocabulary",
        ),
        (imported("a", "toy", "esa", 1.0) | {"seed": 1}, "nothing else has one"),
        (evaluation("a", "toy", "esa", None, 1.0, origin=None), "a run needs method, profile and origin"),
        (evaluation("a", "toy", "esa", 1, 1.0, origin="bought"), "origin"),
    ],
)
def test_a_run_that_is_neither_trained_nor_imported_is_an_error(tmp_path: Path, value: Any, says: str) -> None:
    put_run(tmp_path, value)
    with pytest.raises(DataError, match=says):
        collect(tmp_path, {"a": "toy"}, {})
