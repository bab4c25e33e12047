"""Protocols beside the split as a whole in every form of the report: their own figures, their own published ones, their notes."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from itrcore import layout
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.report.exports import as_csv, as_latex
from itrcore.report.html import write_report
from itrcore.report.leaderboard import as_json, rows
from itrcore.report.markdown import as_markdown
from itrcore.report.marks import LEGEND
from itrcore.report.published_figures import FIGURES
from itrcore.report.references import Block, published_by_others, references
from itrcore.report.results import Entry, Results, collect
from itrcore.report.terminal import print_leaderboard
from itrcore.settings.evaluation import ReportSettings
from tests.protocols.test_coco_protocols import coco_images
from tests.report.test_published import ESA_COCO_1K, ESA_COCO_5K, ESA_SOURCE
from tests.support.report_data import evaluation, figures, put_run, retrieved, write

COCO = {"features": "bottom-up attention", "n_images": 5000, "n_captions": 25000}
ECCV = {
    f"{side}_{key}": value
    for side, first in (("i2t", 10.0), ("t2i", 40.0))
    for key, value in (("map_at_r", first), ("r_precision", first + 1), ("r1", first + 2))
}
DATA = {"esa-1": "coco", "esa-2": "coco", "mine": "coco", "other": "flickr"}
WITHIN = {f"{side}_{key}": 12.5 for side in ("i2i", "t2t") for key in ("r1", "r5", "r10")}
# An image, a caption of another image that ECCV Caption has as right for it, and one that nobody has.
ASKED, ANSWER, WRONG = 373119, 646721, 770337
COCO_IMAGES = coco_images()
PROTOCOLS = {"coco": ["coco_1k", "eccv", "cxc_within"]}


def put_captions_of_coco(root: Path) -> None:
    """The caption table of COCO's test images, with other texts, and an image of train and of dev."""
    rows = [
        {
            "image_id": image.image_id, "file_name": None, "split": split, "position": position,
            "caption_id": caption, "text": f"caption {caption}",
        }
        for split, images in (("train", COCO_IMAGES[:1]), ("dev", COCO_IMAGES[:1]), ("test", COCO_IMAGES))
        for position, image in enumerate(images)
        for caption in image.caption_ids
    ]  # fmt: skip
    captions.write(pa.Table.from_pylist(rows, schema=captions.SCHEMA), root / layout.captions("coco"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """ESA with two seeds, and a method that is better by ECCV Caption alone; another data set without protocols."""
    root = tmp_path_factory.mktemp("results")
    put_captions_of_coco(root)
    for name, method, seed, r1, more in (
        ("esa-1", "esa_bigru", 1, 60.0, 0.0),
        ("esa-2", "esa_bigru", 2, 62.0, 0.0),
        ("mine", "mine", 1, 50.0, 5.0),
    ):
        eccv = {key: value + more + seed for key, value in ECCV.items()}
        if name == "mine":
            eccv["i2t_map_at_r"] = 9.0  # less than ESA's, and more in all
        within = {} if name == "mine" else WITHIN  # it has no vectors
        protocols = {"coco_1k": figures(r1 + 20), "eccv": eccv, "cxc_within": within, "unasked": {"r1": 1.0}}
        put_run(root, evaluation(name, "coco", method, seed, r1, **COCO, protocols=protocols))
    found = retrieved()
    found["image_to_text"][0] |= {"image_id": ASKED, "retrieved": [
        {"caption": f"caption {caption}", "score": 0.5, "correct": False} for caption in (ANSWER, WRONG)
    ]}  # fmt: skip
    write(root / "results/coco/mine/retrieved.json", found)
    put_run(root, evaluation("other", "flickr", "esa_bigru", 1, 70.0))
    return collect(root, DATA, {}, {"coco": "coco"}, PROTOCOLS)


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(results, folder, ReportSettings(title="t"), {}, {})
    return folder


def printed(results: Results, protocol: str) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    print_leaderboard(results, console, protocol)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_rows_have_the_figures_of_their_protocol_best_first(results: Results) -> None:
    names = {
        protocol: [row.name for row in rows(results, "coco", protocol)] for protocol in ("split", *PROTOCOLS["coco"])
    }
    first, second = "esa_bigru/small", "mine/small"
    assert names.pop("eccv") == [second, first]
    assert list(names.values()) == [[first, second]] * 3
    esa = rows(results, "coco", "eccv")[1]
    assert (esa.values["i2t_map_at_r"].mean, esa.values["t2i_r1"].mean) == (11.5, 43.5)


def test_published_1k_figures_stand_beside_1k_and_5k_beside_5k(results: Results) -> None:
    board = as_json(results)["coco"]["esa_bigru/small"]
    assert board["published"]["figures"] == dict(zip(FIGURES, ESA_COCO_5K, strict=True))
    one = board["protocols"]["coco_1k"]
    assert one["published"]["figures"] == dict(zip(FIGURES, ESA_COCO_1K, strict=True))
    assert one["published"]["source"] == ESA_SOURCE  # five folds beside five folds: nothing to excuse
    assert one["published"]["difference"]["i2t_r1"] == pytest.approx(81.0 - 79.6)
    assert (one["i2t_r1"], one["std"]["i2t_r1"]) == (81.0, pytest.approx(2**0.5))
    assert "parameters" not in one
    eccv = board["protocols"]["eccv"]
    assert eccv.keys() == {*ECCV, "std"}
    assert "unasked" not in board["protocols"] and "protocols" not in as_json(results)["flickr"]["esa_bigru/small"]


def test_the_terminal_prints_one_protocol_with_its_note_where_it_is_had(results: Results) -> None:
    text = printed(results, "eccv")
    assert "coco: ECCV Caption, test, 5,000 images" in text and "flickr" not in text
    assert "In percent. R is the number of a query's positives" in " ".join(text.split())
    line = next(line for line in text.splitlines() if "mine/small" in line)
    assert line.split() == ["mine/small", "1", "9.0", "17.0", "18.0", "46.0", "47.0", "48.0"]
    assert "flickr" in printed(results, "split") and "79.6" in printed(results, "coco_1k")
    without = next(line for line in printed(results, "cxc_within").splitlines() if "mine/small" in line)
    assert without.split() == ["mine/small", "1", *"––––––"]
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_and_pages_have_a_table_for_each_protocol(results: Results, report: Path) -> None:
    text = as_markdown(results, "t")
    coco = text.split("## flickr")[0]
    assert text.count("### ") == coco.count("### ") == 3
    assert "| 80.3 | 96.5" not in text and "79.6 (+1.4)" in coco.split("### COCO 1K")[1].split("### ECCV")[0]
    assert "image → text mAP@R" in coco.split("### ECCV")[1]
    page = (report / "index.html").read_text("utf-8")
    assert page.count("<span>ECCV Caption on coco: mean ± standard deviation over seeds</span>") == 1
    of_run = (report / "runs" / "mine.html").read_text("utf-8")
    table = of_run.split("ECCV Caption. In percent.")[1].split("</table>")[0]
    assert "<td>9.0</td><td>17.0</td><td>18.0</td><td>46.0</td>" in table
    assert (
        "flickr: mean ± standard deviation over seeds<" not in page
        and "1,261 images and 1,332 captions are asked for" in page
    )


def test_results_that_lack_a_protocol_of_params_yaml_name_the_stage_to_run(tmp_path: Path) -> None:
    put_run(tmp_path, evaluation("esa-1", "coco", "esa_bigru", 1, 60.0, **COCO, protocols={"eccv": ECCV}))
    with pytest.raises(DataError, match=r"esa-1 is not judged by coco_1k, cxc yet\. Run: dvc repro judge@esa-1"):
        collect(tmp_path, {"esa-1": "coco"}, {}, {"coco": "coco"}, {"coco": ["coco_1k", "eccv", "cxc"]})


def test_csv_and_latex_are_of_the_protocol_that_is_asked_for(results: Results) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(results, "eccv"))))
    assert [(line["data"], line["name"], line["i2t_map_at_r"]) for line in lines] == [
        ("coco", "mine/small", "9.0"),
        ("coco", "esa_bigru/small", "11.5"),
        ("coco", "VSRN", "30.8"),  # published by others: last, however good
        ("coco", "PVSE, K = 2", "26.7"),
        ("coco", "PCME", "26.2"),
    ]
    assert [line["kind"] for line in lines] == ["run", "run", "reference", "reference", "reference"]
    assert (lines[-1]["published_source"], lines[-1]["i2t_r1"], lines[-1]["seeds"]) == ("PCME's repository", "", "")
    text = as_latex(results, "cxc_within")
    named = ("esa", "mine", "VSRN")
    (esa,), (mine,), (other,) = ([line for line in text.splitlines() if line.startswith(name)] for name in named)
    assert r"\textbf" in esa and mine.count("--") == len(WITHIN)  # not measured
    assert r"\textbf" not in other and text.index("Published by others") > text.index(mine)
    heads = next(line for line in text.splitlines() if "multicolumn" in line)
    assert heads.index("image $\\to$ image") < heads.index("text $\\to$ text")
    assert "Underlined" not in text and "flickr" not in text


def test_reference_rows_stand_where_their_benchmark_and_protocol_are_and_never_count_as_ours(results: Results) -> None:
    assert [each.name for each in references(results, "coco", "cxc_within")][-1] == "VSRN"
    assert references(results, "flickr") == [] == references(replace(results, benchmarks={}), "coco")
    made_up = replace(results, entries=(replaced(results.entries[0], features="simulated"), *results.entries[1:]))
    assert references(made_up, "coco") == []
    one_fold = replace(results, entries=(replaced(results.entries[0], n_images=1000, n_captions=5000),))
    assert references(one_fold, "coco") == []  # 1K figures are of five folds
    board, with_references = (as_json(results, flag)["coco"] for flag in (False, True))
    assert list(with_references)[: len(board)] == list(board)
    assert all("reference" not in row for row in board.values())
    clip, vsrn = with_references["CLIP ViT-B/32"], with_references["VSRN"]
    assert (clip["rsum"], clip["reference"]) == (361.9, "open_clip's retrieval results, zero-shot (rsum added up)")
    assert vsrn["protocols"]["eccv"] == {"reference": "PCME's repository", "i2t_map_at_r": 30.8, "t2i_map_at_r": 53.8}
    text = printed(results, "split")
    assert text.index("mine/small") < text.index("SigLIP") and "published by others, not measured here" in text
    assert max(map(len, text.splitlines())) <= 80


def replaced(entry: Entry, **changes: Any) -> Entry:
    return replace(entry, evaluation=entry.evaluation.model_copy(update=changes))


def test_reference_figures_are_sums_and_grow_with_the_ranks_looked_at() -> None:
    for block in published_by_others():
        for name, values in block.rows.items():
            if len(values) == len(FIGURES):
                *recalls, rsum = values
                assert sum(recalls) == pytest.approx(rsum, abs=0.35), name
                assert recalls[:3] == sorted(recalls[:3]) and recalls[3:] == sorted(recalls[3:]), name
    with pytest.raises(ValueError, match="eccv has no i2t_r5"):
        Block.model_validate({"from": "a paper", "by": ("eccv",), "figures": ("i2t_r5",), "rows": {"a": (1.0,)}})


def test_answers_that_eccv_caption_has_as_right_are_marked_and_counted(report: Path) -> None:
    marks = {name: (report / "runs" / f"{name}.html").read_text("utf-8") for name in ("mine", "esa-1", "other")}
    first, second = (
        marks["mine"].split(f"<span>caption {caption}</span>")[1].split("</li>")[0] for caption in (ANSWER, WRONG)
    )
    assert 'wrong</span> <span class="mark elsewhere">right by ECCV Caption</span>' in first
    assert "wrong</span>" in second and "elsewhere" not in second
    assert [LEGEND in text for text in marks.values()] == [True, True, False]
    assert all("right by ECCV" not in marks[name] for name in ("esa-1", "other"))
    counted = json.loads((report / "analysis/coco.json").read_text("utf-8"))["unlabelled"]
    assert [(line["name"], line["side"], line["asked"]) for line in counted[:4:3]] == [
        ("esa-1", "i2t", 1261),
        ("esa-1", "t2i", 1332),
    ]
    assert json.loads((report / "analysis/flickr.json").read_text("utf-8"))["unlabelled"] == []
