"""`itr compare`: the figures of two results beside each other, as a table and as JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.protocols.uncertainty import FIGURES
from tests.support.report_data import evaluation, put_ensemble, put_run
from tests.support.tiny_project import PARAMS, write_params


def itr(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(arguments))


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project where `one` (R@1 40 %) has every query at rank 1 that `two` (R@1 20 %) has, and more; 150 images."""
    monkeypatch.chdir(tmp_path)
    runs = {**PARAMS["runs"], "elsewhere": {**PARAMS["runs"]["one"], "data": "other"}}
    write_params(tmp_path, {"runs": runs, "datasets.other": PARAMS["datasets"]["tiny"]})
    put_run(tmp_path, evaluation("one", "tiny", "esa", 1, 40.0))
    put_run(tmp_path, evaluation("two", "tiny", "gpo", 1, 20.0))
    put_run(tmp_path, evaluation("elsewhere", "other", "esa", 1, 20.0))
    return tmp_path


def test_json_has_figures_and_the_queries_that_only_one_gets(two: Path) -> None:
    result = itr("compare", "one", "two", "--json", "--examples", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    compared = json.loads(result.stdout)
    assert tuple(compared["figures"]) == FIGURES
    figure = compared["figures"]["i2t_r1"]
    assert (figure["a"], figure["b"], figure["difference"]) == pytest.approx((40.0, 20.0, 20.0))
    assert 10 < figure["low"] < 20 < figure["high"] < 30
    assert figure["p"] < 0.001
    assert compared["figures"]["rsum"]["difference"] == pytest.approx(120.0)
    # Ranks are 1 for the first 30 and 60 images, 2's others 5 up to 30 %, then 10 and 20: the worst of the 30 stand first.
    alone = {"count": 30, "examples": [
        {"image_id": 145, "file_name": "one.png", "caption": "caption 0 of image 145", "rank": 10},
        {"image_id": 146, "file_name": "one.png", "caption": "caption 0 of image 146", "rank": 10},
    ]}  # fmt: skip
    assert compared["only"]["i2t"] == {"a": alone, "b": {"count": 0, "examples": []}}
    captions = compared["only"]["t2i"]["a"]
    assert captions["count"] == 150
    assert (
        captions["examples"][0]["caption"] == "caption 0 of image 145"
    )  # caption 225, the first that `two` has at rank 10
    # The other way round the same with signs turned.
    turned = json.loads(itr("compare", "two", "one", "--json", "--examples", "2").output)
    assert turned["figures"]["rsum"]["difference"] == pytest.approx(-120.0)
    assert turned["only"]["i2t"] == {"a": {"count": 0, "examples": []}, "b": alone}
    assert turned["figures"]["rsum"]["p"] == compared["figures"]["rsum"]["p"]


def test_the_terminal_shows_the_same(two: Path) -> None:
    put_ensemble(two, evaluation("both", "tiny", None, None, 20.0, members=["one", "two"], profile=None))
    lines = [line.strip() for line in itr("compare", "one", "both").output.splitlines()]
    assert lines[0].startswith("tiny: test, 150 images, 750 captions, synthetic") and lines[1:3] == ["A one", "B both"]
    row = next(line.split() for line in lines if line.startswith("image → text R@1 "))
    assert row[4:7] == ["40.0", "20.0", "+20.0"] and row[-2:] == ["<", "0.001"]
    assert "image → text, rank 1: with A alone 30 images, with B alone 0" in lines
    assert ["A", "10", "145", "caption", "0", "of", "image", "145"] in [line.split() for line in lines]
    same = itr("compare", "two", "both").output
    assert [line.split()[-5:] for line in same.splitlines() if "R@1 " in line] == [
        ["0.0", "0.0", "to", "0.0", "1.000"]
    ] * 2


@pytest.mark.parametrize(
    ("a", "b", "error"),
    [
        ("one", "elsewhere", "error: one is on tiny and elsewhere on other; expected two results on one data set"),
        (
            "one",
            "both",
            "error: results/tiny/both/metrics.json: no such file; expected the output of stage ensemble@both.",
        ),
        ("one", "tow", "error: params.yaml: no 'tow' in runs and ensembles; did you mean 'two'?"),
    ],
)
def test_what_cannot_be_compared_is_one_error(two: Path, a: str, b: str, error: str) -> None:
    result = itr("compare", a, b)
    assert result.exit_code == 1
    assert result.output.startswith(error) and result.output.count("error") == 1


def test_results_on_other_data_or_of_another_table_are_refused(two: Path) -> None:
    put_run(two, evaluation("two", "tiny", "gpo", 1, 20.0, data_digest="e" * 64))
    assert "different states of tiny; run dvc repro" in itr("compare", "one", "two").output
    put_run(two, evaluation("two", "tiny", "gpo", 1, 20.0, n_images=149, n_captions=745))
    output = itr("compare", "one", "two").output
    assert "ranks of 149 images and 745 captions; expected 150 and 750" in output
    Path("results/tiny/one/ranks.parquet").write_bytes(b"damaged")
    assert "results/tiny/one/ranks.parquet: this file is damaged" in itr("compare", "one", "two").output
