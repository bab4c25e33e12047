"""Published figures: that they are sound, beside which results they stand, and that every form of the report shows them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from itrcore.report import formats
from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.published_figures import FIGURES, PROTOCOLS, Comparison, beside, published
from itrcore.report.results import Results, collect, configured
from itrcore.report.terminal import print_leaderboard
from itrcore.runs.records import Evaluation
from itrcore.settings.evaluation import ReportSettings
from itrcore.settings.load import load
from itrcore.settings.runs import RunSettings
from tests.support.project import ROOT
from tests.support.report_data import evaluation, figures, put_ensemble, put_run

F30K = {"features": "bottom-up attention", "n_images": 1000, "n_captions": 5000}
SAF_F30K = [75.6, 92.7, 96.9, 56.5, 82.0, 88.4]  # its rsum was not published
ESA_F30K = [82.6, 95.9, 98.1, 61.1, 85.9, 91.1, 514.7]
ZERO_SHOT = "dual openai/clip-vit-base-patch32 zero-shot"
ESA_F30K_TWO = [83.1, 96.3, 98.7, 62.4, 87.2, 92.5, 520.2]
SGRAF_F30K = [78.4, 94.6, 97.5, 58.2, 83.0, 89.1]
ESA_COCO_1K = [79.6, 96.5, 98.7, 63.5, 90.9, 96.1, 525.3]
ESA_COCO_5K = [58.2, 84.8, 91.8, 41.2, 71.4, 82.2, 429.6]
ESA_SOURCE = "ESA paper, Tables I and II (as shown in its repository)"


@pytest.mark.parametrize("family", list(published()))
def test_the_sum_of_six_published_recalls_is_the_published_rsum(family: str) -> None:
    for protocol in PROTOCOLS.values():
        for kind, values in getattr(published()[family], protocol).items():
            *recalls, rsum = values
            if None not in values:
                assert sum(recalls) == pytest.approx(rsum, abs=0.35), (protocol, kind)  # each is rounded to 0.1


def test_recalls_grow_with_the_number_of_ranks_looked_at() -> None:
    for family, row in published().items():
        for protocol in PROTOCOLS.values():
            for kind, (*recalls, _) in getattr(row, protocol).items():
                for side in (recalls[:3], recalls[3:]):
                    given = [recall for recall in side if recall is not None]
                    assert given == sorted(given), (family, protocol, kind)


def test_every_published_row_says_where_it_is_from() -> None:
    assert all(len(row.source) > 10 for row in published().values())


def compared(benchmark: Any, family: str | None, **other: Any) -> Comparison | None:
    members = other.get("members")
    name = None if members else "esa"
    value = evaluation("a", "d", name, None if members else 1, 80.0, **(F30K | {"family": family} | other))
    return beside(Evaluation.model_validate_json(json.dumps(value)), benchmark, figures(80.0))


@pytest.mark.parametrize(
    ("benchmark", "family", "other", "kind", "expected"),
    [
        ("f30k", "esa_bigru", {}, "single", ESA_F30K),
        ("f30k", "esa_bigru", {"members": ["a", "b"]}, "ensemble", ESA_F30K_TWO),
        ("coco", "esa_bigru", {}, "single", ESA_COCO_1K),
        ("coco", "esa_bigru", {"n_images": 5000, "n_captions": 25000}, "single", ESA_COCO_5K),
        ("f30k", "coder", {}, "reported", [83.2, 96.5, 98.0, 63.1, 87.1, 93.0, 520.9]),
        ("f30k", ZERO_SHOT, {"features": "pixels"}, "single", [78.9, 94.9, 98.2, 58.8, 83.6, 90.0, 504.4]),
        ("f30k", "coder", {"members": ["a", "b"]}, "reported", [83.2, 96.5, 98.0, 63.1, 87.1, 93.0, 520.9]),
    ],
)
def test_what_is_evaluated_decides_which_published_figures_fit(
    benchmark: str, family: str, other: dict[str, Any], kind: str, expected: list[float]
) -> None:
    comparison = compared(benchmark, family, **other)
    assert comparison is not None
    assert comparison.kind == kind
    assert list(comparison.figures.values()) == expected
    assert comparison.difference == pytest.approx(
        {key: figures(80.0)[key] - comparison.figures[key] for key in FIGURES}
    )


@pytest.mark.parametrize(
    ("benchmark", "family", "other"),
    [
        (None, "esa_bigru", {}),  # data that is no benchmark, whatever its size
        ("f30k", "esa_bigru", {"features": "simulated"}),
        ("f30k", "esa_bigru", {"features": "synthetic"}),
        ("f30k", "esa_bigru", {"features": "other"}),
        ("f30k", "esa_bigru", {"features": "pixels"}),
        ("f30k", ZERO_SHOT, {}),  # which is of pictures
        ("f30k", ZERO_SHOT.removesuffix(" zero-shot"), {"features": "pixels"}),  # fine-tuned
        ("f30k", "esa_bigru", {"split": "dev"}),
        ("f30k", "esa_bigru", {"n_images": 1014, "n_captions": 5070}),  # the size of dev
        ("f30k", "esa_bigru", {"n_images": 5000, "n_captions": 25000}),
        ("f30k", "esa_bigru", {"members": ["a", "b", "c"]}),
        ("f30k", "vse_infty_bigru", {"members": ["a", "b"]}),  # one model alone was published
        ("f30k", "esa_bert+esa_bigru", {"members": ["a", "b"]}),  # of two families that were not published together
        ("f30k", "saf_bigru", {"members": ["a", "b"]}),  # its ensemble with SGR was published, not with another SAF
        ("f30k", "saf_bigru+sgr_bigru", {"members": ["a", "b", "c"]}),
        ("f30k", "esa_bigru_of_mine", {}),
        ("coco", "coder", {"n_images": 5000, "n_captions": 25000}),  # 1K alone was published
    ],
)
def test_nothing_stands_beside_what_was_not_published(benchmark: Any, family: str | None, other: Any) -> None:
    assert compared(benchmark, family, **other) is None


def test_figures_that_were_not_published_are_absent_and_never_zero() -> None:
    comparison = compared("f30k", "saf_bigru")
    assert comparison is not None
    assert comparison.figures == dict(zip(FIGURES[:6], SAF_F30K, strict=True))
    assert comparison.difference.keys() == comparison.figures.keys()


def test_sgr_and_saf_together_stand_beside_sgraf() -> None:
    comparison = compared("f30k", "saf_bigru+sgr_bigru", members=["a", "b"])
    assert comparison is not None
    assert comparison.kind == "ensemble"
    assert list(comparison.figures.values()) == SGRAF_F30K


def test_one_fold_is_not_passed_off_as_five() -> None:
    comparison, other = compared("coco", "esa_bigru"), compared("f30k", "esa_bigru")
    assert comparison is not None
    assert other is not None
    assert "five folds" in comparison.source
    assert other.source == ESA_SOURCE


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """ESA with two seeds and their ensemble, SAF, and a method without published figures."""
    root = tmp_path_factory.mktemp("results")
    methods = {"esa-1": "esa_bigru", "esa-2": "esa_bigru", "saf": "saf_bigru", "mine": "mine"}
    for seed, (name, method) in enumerate(methods.items(), 1):
        put_run(root, evaluation(name, "flickr", method, seed, 80.0 + 2 * seed, **F30K))
    two = F30K | {"family": "esa_bigru", "members": ["esa-1", "esa-2"], "profile": None}
    put_ensemble(root, evaluation("esa-both", "flickr", None, None, 85.0, **two))
    return collect(root, dict.fromkeys(methods, "flickr"), {"esa-both": "flickr"}, {"flickr": "f30k"})


def test_a_row_is_compared_by_its_mean_over_seeds(results: Results) -> None:
    board = as_json(results)["flickr"]
    published_entry = board["esa_bigru/small"]["published"]
    assert published_entry["figures"] == dict(zip(FIGURES, ESA_F30K, strict=True))
    assert published_entry["difference"]["i2t_r1"] == pytest.approx(83.0 - 82.6)  # seeds with 82 and 84
    assert published_entry["difference"]["rsum"] == pytest.approx(6 * 83.0 + 60 - 514.7)
    assert published_entry["source"] == ESA_SOURCE
    assert board["esa-both"]["published"]["difference"]["i2t_r1"] == pytest.approx(85.0 - 83.1)
    assert "published" not in board["mine/small"]


def test_markdown_shows_figure_difference_and_source_of_what_matches(results: Results) -> None:
    text = as_markdown(results, "t")
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if " (−" in line or " (+" in line}
    assert lines.keys() == {"esa_bigru/small", "esa-both", "saf_bigru/small"}
    assert lines["esa_bigru/small"].startswith(
        "| esa_bigru/small | one model | 82.6 (+0.4) | 95.9 (−2.9) | 98.1 (+4.9) "
    )
    assert lines["esa_bigru/small"].endswith(f" | 514.7 (+43.3) | {ESA_SOURCE} |")
    assert " | – | SGRAF repository README" in lines["saf_bigru/small"]  # rsum
    bars = {line.count("|") for line in text.split("brackets ours")[1].split("\n\n")[1].splitlines()}
    assert len(bars) == 1


def test_the_terminal_shows_them_below_our_row_within_80_columns(results: Results) -> None:
    lines = printed(results)
    at = next(number for number, line in enumerate(lines) if "esa_bigru/small" in line)
    assert lines[at + 1].split() == ["published", "[3]", *(f"{value:.1f}" for value in ESA_F30K)]
    assert lines[at + 2].split() == ["difference", "+0.4", "−2.9", "+4.9", "+21.9", "+7.1", "+11.9", "+43.3"]
    at = next(number for number, line in enumerate(lines) if "saf_bigru/small" in line)
    assert lines[at + 1].split()[2:] == [*map(str, SAF_F30K), "–"]
    assert f"[3] one model: {ESA_SOURCE}" in "\n".join(lines)
    assert "[2] ensemble of two models: ESA paper" in "\n".join(lines)
    assert max(map(len, lines)) <= 80


def printed(results: Results, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    print_leaderboard(results, console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_in_a_narrow_terminal_a_long_name_is_folded_and_no_figure_is_cut(tmp_path: Path) -> None:
    name = "a_method_whose_name_is_long"
    for seed in (1, 2):
        put_run(tmp_path, evaluation(f"a{seed}", "flickr", name, seed, 80.0 + seed, **(F30K | {"family": "esa_bigru"})))
    results = collect(tmp_path, {"a1": "flickr", "a2": "flickr"}, {}, {"flickr": "f30k"})
    text = "\n".join(printed(results))
    assert "549.0±4.2" in text
    first, second = (line.split() for line in text.split("published [1]")[0].splitlines()[-3:-1])
    assert first[0] + second[0] == f"{name}/small"


def test_pages_show_a_row_by_its_mean_and_a_run_by_itself(results: Results, tmp_path: Path) -> None:
    write_report(results, tmp_path, ReportSettings(title="t"), {}, {})
    index = (tmp_path / "index.html").read_text("utf-8")
    assert index.count('<tr class="published">') == 3
    row = index.split(">esa_bigru <small>small</small></th>")[1].split('<tr class="published">')[1].split("</tr>")[0]
    assert '<td class="first">82.6 <small>+0.4</small></td>' in row
    assert f"One model. {ESA_SOURCE}" in row
    run = (tmp_path / "runs" / "esa-2.html").read_text("utf-8")
    assert ESA_SOURCE in run
    assert "<td>82.6</td>" in run
    assert "<td>+1.4</td>" in run  # 84.0, not the mean of 83.0
    assert "Published figures" not in (tmp_path / "runs" / "mine.html").read_text("utf-8")
    assert "ensemble of two models" in (tmp_path / "ensembles" / "esa-both.html").read_text("utf-8")
    for page in tmp_path.rglob("*.html"):
        for table in page.read_text("utf-8").split("<table")[1:]:
            head, body = table.split("</thead>")
            for row in body.split("</table>")[0].split("<tr")[1:]:
                spans = re.findall(r'<t[hd]\b(?:[^>]*colspan="(\d+)")?', row)
                assert sum(int(span or 1) for span in spans) == head.count('scope="col"'), page


def test_where_nothing_matches_nothing_speaks_of_published_figures(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("a", "flickr", "esa_bigru", 1, 80.0, **(F30K | {"features": "simulated"})))
    results = collect(tmp_path, {"a": "flickr"}, {}, {"flickr": "f30k"})
    write_report(results, tmp_path / "report", ReportSettings(title="t"), {}, {})
    texts = [
        path.read_text("utf-8")
        for path in (tmp_path / "report").rglob("*.*")
        if path.suffix in (".html", ".md", ".json")
    ]
    assert len(texts) == 6
    assert not any("ublished" in text for text in [*texts, *printed(results)])


def test_the_configuration_says_which_data_set_is_a_benchmark(tmp_path: Path) -> None:
    assert load(ROOT / "experiments" / "coco" / "params.yaml").datasets["coco"].benchmark == "coco"
    params = load(ROOT / "experiments" / "f30k" / "params.yaml")
    runs = {"mine": RunSettings(data="f30k", method="esa_bigru", seed=1)}
    put_run(tmp_path, evaluation("mine", "f30k", "esa_bigru", 1, 80.0, **F30K))
    (row,) = rows(configured(params.model_copy(update={"runs": runs, "ensembles": {}}), tmp_path), "f30k")
    assert row.published is not None
    assert row.published.figures["rsum"] == 514.7


def test_a_difference_has_a_sign_unless_nothing_is_left_of_it() -> None:
    assert [formats.difference(value) for value in (0.44, -1.25, 0.04, -0.04)] == ["+0.4", "−1.2", "0.0", "0.0"]
