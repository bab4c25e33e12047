"""What a leaderboard says of noise, and its exports: intervals, which rows are not told apart from the best, CSV, LaTeX, JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.errors import DataError
from itrcore.files import read_json, sha256
from itrcore.protocols import outcomes_file
from itrcore.protocols.uncertainty import Outcomes, intervals, p_values
from itrcore.report.exports import as_csv, as_latex
from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.results import Results, collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, imported, put_run, write
from tests.support.tiny_project import write_params

F30K = {"features": "bottom-up attention", "n_images": 150, "n_captions": 750}
NEAR = "not told apart from the best"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Rows whose queries at rank 1 lie in each other: `best`, an image less at 1, 5 and 10 (`near_50%`), three seeds, `weak`."""
    root = tmp_path_factory.mktemp("results")
    put_run(root, evaluation("best", "toy", "best", 1, 40.67))
    put_run(root, imported("near_50%", "toy", "esa", 40.0))
    for seed, r1 in enumerate((34.0, 44.0, 43.0), 1):
        put_run(root, evaluation(f"seeds-{seed}", "toy", "seeds", seed, r1))
    put_run(root, evaluation("weak", "toy", "weak", 1, 20.0))
    return collect(root, dict.fromkeys(("weak", "best", "near_50%", "seeds-1", "seeds-2", "seeds-3"), "toy"), {})


def test_rows_are_tested_against_the_best_of_each_figure_and_have_intervals(results: Results) -> None:
    board = {row.name: row for row in rows(results, "toy")}
    assert list(board) == ["best/small", "seeds/small", "near_50%", "weak/small"]
    assert [name for name, row in board.items() if row.noise.near_best()] == ["seeds/small", "near_50%"]
    assert not board["best/small"].noise.p
    # Three images differ, all in favour of the best: of 8 ways to turn their signs 2 are as far from 0. p = 1/4.
    assert board["near_50%"].noise.p["rsum"] == pytest.approx(0.25, abs=0.02)
    assert board["weak/small"].noise.p["rsum"] < 0.001
    for row in board.values():
        low, high = row.noise.interval["i2t_r1"]
        assert low < row.values["i2t_r1"].mean < high
        assert 10 < high - low < 18  # of a share of 20 to 41 % of 150: 4 standard errors are 13 to 16 %


def test_json_and_csv_can_be_read_back(results: Results) -> None:
    board = as_json(results)["toy"]
    assert board["near_50%"]["p_against_best"]["rsum"] == pytest.approx(0.25, abs=0.02)
    assert board["weak/small"]["interval"]["rsum"]["low"] < 180 < board["weak/small"]["interval"]["rsum"]["high"]
    lines = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert [line["name"] for line in lines] == list(board)
    for line in lines:
        row = board[line["name"]]
        assert float(line["rsum"]) == row["rsum"]
        assert float(line["i2t_r1_high"]) == row["interval"]["i2t_r1"]["high"]
        assert line["rsum_p"] == str(row["p_against_best"].get("rsum", ""))
        assert line["rsum_std"] == str(row.get("std", {}).get("rsum", ""))
        assert line["features"] == "synthetic"
    assert [line["seeds"] for line in lines] == ["1", "3", "", "1"]
    assert [line["kind"] for line in lines] == ["run", "run", "imported", "run"]


def test_latex_has_the_best_bold_and_what_is_not_told_apart_underlined(results: Results) -> None:
    text = as_latex(results)
    lines = {line.split(" & ")[0]: line for line in text.splitlines()}
    assert lines["best/small"].startswith(r"best/small & \textbf{40.7} & \textbf{50.7} & ")
    assert lines["best/small"].endswith(r" & \textbf{304.0} \\")
    assert r" & \underline{40.0} & " in lines[r"near\_50\% (imported)"]
    assert lines["seeds/small"].endswith(r" & \underline{302.0} {\scriptsize $\pm$ 33.0} \\")
    assert r"\textbf" not in lines["weak/small"] and r"\underline" not in lines["weak/small"]
    table = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    assert {line.count(" & ") for line in table.splitlines() if line.endswith(r"\\") and "multi" not in line} == {7}
    assert "Synthetic features." in text and r"$\pm$: standard deviation over seeds" in text
    assert text.count("{") == text.count("}")


def test_published_figures_stand_in_latex_and_are_neither_tested_nor_marked(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "f", "esa_bigru", 1, 80.0, **{**F30K, "n_images": 1000, "n_captions": 5000}))
    text = as_latex(collect(tmp_path, {"a": "f"}, {}, {"f": "f30k"}))
    assert "\n\\quad published & 82.6 & 95.9 & 98.1 & " in text
    assert "\n% one model: ESA paper" in text


def test_people_are_told_by_words_and_a_sign(results: Results, tmp_path: Path) -> None:
    lines = printed(results, 80)
    marked = [line.split()[0] for line in lines if (" ≈ " in line and "/" in line) or line.startswith(" near")]
    assert marked == ["seeds/small", "near_50%"]
    # An image of `weak` gives rsum 600, 400, 200 or 0 (20, 10, 10, 60 %): deviation 244, 20 for a mean of 150: 180 ± 39.
    assert next(line.split()[-2:] for line in lines if "weak/small" in line) == ["180.0", "141–220"]
    legend = " ".join(line.strip() for line in lines)
    assert (
        f"≈ {NEAR}: in rsum, p ≥ 0.05 in a paired permutation test over images; of several seeds, their mean" in legend
    )
    assert "±: standard deviation over seeds 95 %: bootstrap interval over the test's images" in legend
    narrow = printed(results, 70)
    assert not any("141–220" in line or "95 %" in line for line in narrow) and any(
        "302.0±33.0" in line for line in narrow
    )
    text = as_markdown(results, "t")
    assert [line.split(" | ")[0] for line in text.splitlines() if f"| ≈ {NEAR} |" in line] == [
        "| seeds",
        "| near_50% (esa)",
    ]
    write_report(results, tmp_path, ReportSettings(title="t"), {}, {})
    page = (tmp_path / "index.html").read_text("utf-8")
    body = page.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    assert [f"<small>≈ {NEAR}</small>" in row for row in body[:4]] == [False, True, True, False]
    assert "180.0 <small>141–220</small>" in body[3]
    assert f"<li>≈ {NEAR}" in page


def printed(results: Results, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_leaderboard(results, console)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_figures_of_a_protocol_are_as_sure_as_what_each_image_adds_to_them(tmp_path: Path) -> None:
    """Rows are in the order of their rsum; of the last one the protocol has no figures."""
    random, kept = np.random.default_rng(4), {}
    for name, r1, share in (("a", 30.0, 0.5), ("b", 25.0, 0.9), ("c", 20.0, None)):
        record = evaluation(
            name, "toy", name, 1, r1, protocols={"eccv": {} if share is None else {"i2t_r1": 100 * share}}
        )
        put_run(tmp_path, record)
        if share is not None:
            hits = random.random(150) < share
            kept[name] = Outcomes.of_parts({"i2t_r1": (hits, np.ones(150))})
            outcomes_file.write(path := tmp_path / "results/toy" / name / "outcomes.safetensors", {"eccv": kept[name]})
            rewrite_files(tmp_path / "results/toy" / name / "metrics.json", {path.name: sha256(path)})
    results = collect(tmp_path, dict.fromkeys("abc", "toy"), {}, {}, {"toy": ["eccv"]})
    found = {row.label: row.noise for row in rows(results, "toy", "eccv")}
    expected = intervals([kept["a"], kept["b"]])
    assert [found[name].interval for name in "abc"] == [*expected, {}]
    (p,) = p_values([kept["a"] - kept["b"]])
    assert (found["a"].p, found["b"].p, found["c"].p) == (p, {}, {}) and p["i2t_r1"] < 0.01
    low, high = expected[0]["i2t_r1"]
    assert as_json(results)["toy"]["a/small"]["protocols"]["eccv"]["interval"] == {"i2t_r1": {"low": low, "high": high}}
    (tmp_path / "results/toy/a/outcomes.safetensors").write_bytes(b"0")
    with pytest.raises(DataError, match=r"results/toy/a/outcomes\.safetensors: this file is damaged"):
        rows(collect(tmp_path, dict.fromkeys("abc", "toy"), {}, {}, {"toy": ["eccv"]}), "toy", "eccv")


def rewrite_files(path: Path, more: dict[str, str]) -> None:
    record = read_json(path)
    write(path, {**record, "files": {**record["files"], **more}})


def test_damaged_ranks_and_other_captions_are_errors(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0))
    (tmp_path / "results/toy/a/ranks.parquet").write_bytes(b"0")
    with pytest.raises(DataError, match=r"results/toy/a/ranks\.parquet: this file is damaged"):
        rows(collect(tmp_path, {"a": "toy"}, {}), "toy")
    put_run(tmp_path, evaluation("a", "toy", "m", 1, 20.0, n_captions=600))
    with pytest.raises(DataError, match="ranks of 150 images and 600 captions; expected 150 and 750"):
        rows(collect(tmp_path, {"a": "toy"}, {}), "toy")


def test_the_command_writes_files_or_onto_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    put_run(tmp_path, evaluation("two", "tiny", "gpo", 1, 20.0))
    found: Any = CliRunner().invoke(app, ["leaderboard", "--csv", "a.csv", "--latex", "a.tex"])
    assert found.stdout.splitlines() == ["a.csv", "a.tex"]
    assert found.stderr.splitlines() == ["warning: no results yet, run dvc repro: one, both"]
    for option, path in (("--csv", "a.csv"), ("--latex", "a.tex")):
        assert CliRunner().invoke(app, ["leaderboard", option, "-"]).stdout == Path(path).read_text("utf-8")
    found = CliRunner().invoke(app, ["leaderboard", "--json", "--csv", "b.csv"])
    told = json.loads(found.stdout)
    assert told["leaderboard"]["tiny"]["gpo/small"]["rsum"] == 180.0 and told["missing"] == ["one", "both"]
    assert Path("b.csv").read_bytes() == Path("a.csv").read_bytes()
