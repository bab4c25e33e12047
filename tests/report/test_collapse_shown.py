"""A collapsed training in the report: marked on the leaderboards, explained on its page. Earlier records have nothing of it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json
from itrcore.report.markdown import as_markdown
from itrcore.report.results import Results, collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.support.report_data import evaluation, history, put_run, write

SIGNS = {"image_rank": 3.21, "text_rank": 1.04, "i2t_hub": 7.4, "t2i_hub": 97.6, "loss": 1.01}
COURSES = {  # what its evaluations say: the first seed of `a` recovers, the second ends collapsed; `b` too; `c` is an earlier one
    "a-1": (False, True, False),
    "a-2": (False, True, True),
    "b-1": (False, False, True),
    "c-1": None,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("results")
    for name, course in COURSES.items():
        method, _, seed = name.partition("-")
        put_run(root, evaluation(name, "toy", method, int(seed), 20.0))
        content = history()
        for record, collapsed in zip(content["evaluations"], course or (), strict=False):
            record["collapse"] = {**SIGNS, "collapsed": collapsed} | ({"loss": None} if name == "b-1" else {})
            if name == "a-2":  # a method with figures of its own
                record |= {"inner": {"clusters_used": 31.26}, "chosen": {"alpha": 0.3 + record["evaluation"] / 20}}
        write(root / "runs" / "toy" / name / "history.json", content)
    return collect(root, dict.fromkeys(COURSES, "toy"), {})


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(results, folder, ReportSettings(title="t"), {}, {})
    return folder


def pages(report: Path) -> dict[str, str]:
    return {name: (report / "runs" / f"{name}.html").read_text("utf-8") for name in COURSES}


def test_the_page_of_a_training_that_ended_collapsed_says_since_when_by_what_and_what_helps(report: Path) -> None:
    notes = {name: re.findall(r"<strong>Collapsed</strong>(.*?)</p>", page) for name, page in pages(report).items()}
    assert {name: len(found) for name, found in notes.items()} == {"a-1": 0, "a-2": 1, "b-1": 1, "c-1": 0}
    (note,) = notes["a-2"]
    assert note.startswith(" from epoch 2 to the end; the kept weights are of epoch 3.")
    assert "of captions 1.0;" in note and "one image of 98 % of captions" in note and "recipe.learning_rate" in note
    assert notes["b-1"][0].startswith(" from epoch 3 to the end") and "constant similarity" not in notes["b-1"][0]


def test_the_table_of_evaluations_has_the_figures_where_they_are_known(report: Path) -> None:
    def table(name: str) -> str:
        return pages(report)[name].split("Every evaluation on dev as a table")[1]

    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", table("a-2").split("</table>")[0])
    assert [row.count("collapsed") for row in rows] == [0, 1, 1]
    assert all("<td>3.2</td><td>1.0</td><td>7.4</td><td>97.6</td><td>1.01" in row for row in rows)
    assert all(f"<td>31.3</td><td>{alpha}</td>" in row for row, alpha in zip(rows, (0.35, 0.4, 0.45), strict=True))
    assert '<th scope="col">clusters used</th><th scope="col">alpha</th>' in table("a-2")
    assert "hub" not in table("c-1").split("</table>")[0] and "clusters" not in table("b-1").split("</table>")[0]
    assert (report / "plots/runs/a-2/rank.png").exists() and not (report / "plots/runs/c-1/rank.png").exists()
    assert (report / "plots/runs/a-2/inner.png").exists() and not (report / "plots/runs/b-1/inner.png").exists()
    facts = {name: re.findall(r"<dt>Chosen on dev</dt>\s*<dd>(.*?)</dd>", page) for name, page in pages(report).items()}
    assert facts == {"a-1": [], "a-2": ["alpha 0.45"], "b-1": [], "c-1": []}


def test_every_leaderboard_marks_its_row(results: Results, report: Path) -> None:
    index = (report / "index.html").read_text("utf-8")
    assert index.count(">1 of 2 collapsed</small>") == 2 and index.count(">collapsed</small>") == 2  # in both tables
    text = as_markdown(results, "t")
    assert "| a (1 of 2 collapsed) |" in text and "| b (collapsed) |" in text and "| c |" in text
    console = Console(file=io.StringIO(), width=80)
    print_leaderboard(results, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        " a/small: 1 of 2 collapsed\n" in shown and " b/small: collapsed\n" in shown and shown.count("collapsed") == 2
    )
    board = as_json(results)["toy"]
    assert [board[f"{name}/small"].get("collapsed") for name in "abc"] == [1, 1, None]
