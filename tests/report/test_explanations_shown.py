"""Explanations as they are seen: which boxes are drawn how strongly, the PNG, and the run's page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itrcore.errors import DataError
from itrcore.report import explanation_picture, explanations
from itrcore.report.attachments import page_files
from itrcore.report.html import write_report
from itrcore.report.results import collect
from itrcore.runs.examples import Explained, Explanation
from itrcore.settings.evaluation import ReportSettings
from tests.support.attending_data import explanation
from tests.support.report_data import SCRIPT, evaluation, put_run, write

DOG = ("dog", True, [(0, 0.6), (2, 0.36), (1, 0.04)])
REST = [[0.0, 0.0, 0.0, 0.0]] * 9  # further regions, so that an even attention is a weak one; empty, and not drawn
SIZE = (40, 30)
LONG = [(f"{i}{'w' * (i % 14)}", i % 3 > 0, [(i % 4, 0.4)]) for i in range(30)]


def test_marks_are_the_strongest_regions_in_order_with_their_share_of_the_strongest() -> None:
    boxes = [[0, 0, 20, 30], [20, 0, 40, 30], [10, 10, 20, 20], *REST, *REST]
    example = explanation(
        [("dog", True, [(0, 0.6), (2, 0.3), (1, 0.08)])], boxes=boxes
    )  # 0.08: faint, though above even
    marks = explanations.marks(example.words[0], example, SIZE)
    assert [(mark.region, mark.weight, round(mark.share, 6)) for mark in marks] == [
        (1, 0.6, 1.0),
        (3, 0.3, 0.5),
    ]
    assert [(mark.x, mark.y, mark.width, mark.height) for mark in marks] == [(0, 0, 20, 30), (10, 10, 10, 10)]


def test_boxes_are_cut_off_at_the_pictures_edges_and_empty_ones_left_out() -> None:
    boxes = [[-5, 10, 50, 90], [10, 10, 10, 20], [60, 0, 70, 5], *REST]
    example = explanation([("dog", True, [(0, 0.4), (1, 0.4), (2, 0.2)])], boxes=boxes)
    for marks in (explanations.marks(example.words[0], example, SIZE), explanations.all_boxes(example, SIZE)):
        assert [(mark.region, mark.x, mark.y, mark.width, mark.height) for mark in marks] == [(1, 0, 10, 40, 20)]


def test_of_many_words_those_that_look_most_at_one_region_are_shown_in_the_captions_order() -> None:
    words = [(f"word{i}", i != 5, [(0, (i * 7 % 20 + 1) / 20)]) for i in range(20)]
    example = explanation(words)
    shown = explanations.shown(example.words)
    strongest = sorted((word for word in words if word[1]), key=lambda word: -word[2][0][1])[: explanations.MOST_WORDS]
    assert [word.text for word in shown] == [word[0] for word in words if word in strongest]
    assert (
        explanations.left_out(example)
        == f"Shown: the {explanations.MOST_WORDS} of 19 words that look most at one region."
    )
    assert explanations.left_out(explanation([DOG])) == ""


def test_a_word_that_looks_everywhere_alike_shows_no_region_and_has_no_tint() -> None:
    example = explanation([("in", False, [(0, 0.26), (1, 0.25), (2, 0.25)]), DOG, ("cat", True, [(0, 1.0)])])
    assert [len(explanations.marks(word, example, SIZE)) for word in example.words] == [0, 2, 1]
    assert [explanations.strength(word, example) for word in example.words] == ["even", "60 %", "100 %"]
    tints = [explanations.tint(word, example) for word in example.words]
    assert tints == pytest.approx([0.01 / 0.75, 0.35 / 0.75, 1.0])
    alone = explanation([("cat", True, [(0, 1.0)])], boxes=[[0, 0, 9, 9]])
    assert explanations.tint(alone.words[0], alone) == 0 and explanations.strength(alone.words[0], alone) == "even"


@pytest.mark.parametrize(("weight", "shown"), [(0.414, "41 %"), (1.0, "100 %"), (0.006, "1 %"), (0.004, "<1 %")])
def test_percentages_are_short(weight: float, shown: str) -> None:
    assert explanations.percent(weight) == shown


# The PNG


def panel(example: Explanation, number: int, value: int = 200) -> np.ndarray:
    """A panel of the picture made of a grey square of 362 pixels: 0 all regions, then the words'."""
    side, margin, gap = 362, 40, 24
    grey = Image.new("RGB", (side, side), (value,) * 3)
    sheet = np.asarray(explanation_picture.draw(example, grey, "facts"))
    x = margin + number * (side + gap)
    below = sheet.shape[0] - margin
    return sheet[below - side : below, x : x + side]


def test_outside_of_its_regions_a_words_picture_is_dark_and_inside_as_bright_as_the_weight() -> None:
    boxes = [[20, 20, 120, 120], [200, 20, 300, 120], *REST]
    example = explanation([("dog", True, [(0, 0.6), (1, 0.3)])], boxes=boxes)
    pixels = panel(example, 1)
    assert pixels[70, 70].tolist() == [200] * 3
    assert pixels[300, 300].tolist() == pytest.approx([200 * (1 - explanations.DARK)] * 3, abs=1)
    assert pixels[70, 250].tolist() == pytest.approx([200 * (1 - explanations.DARK / 2)] * 3, abs=2)


def test_lines_lie_around_a_region_thicker_for_more_weight_and_inside_of_the_picture() -> None:
    boxes = [[100, 100, 110, 110], [200, 100, 300, 200], [0, 0, 362, 362], *REST]
    example = explanation([("dog", True, [(0, 0.6), (1, 0.12), (2, 0.12)])], boxes=boxes)
    pixels = panel(example, 1)
    yellow = (pixels == np.array([255, 224, 77])).all(2)
    assert not yellow[100:110, 100:110].any()  # a small region is not hidden by its own line
    assert yellow[105, 94:100].sum() == 5 and yellow[150, 190:200].sum() == 2
    assert yellow[0].all() and yellow[:, 0].all() and yellow[-1].all() and yellow[:, -1].all()


def test_the_first_picture_shows_every_region_thinly() -> None:
    pixels = panel(explanation([DOG], boxes=[[50, 50, 150, 150], [200, 200, 300, 300], [9, 9, 20, 20]]), 0)
    plain = pixels[180, 180].astype(int)
    for at in (50, 200):
        assert (pixels[at, at + 50].astype(int) - plain)[0] > 40  # a line
        assert (pixels[at + 3, at + 50] == plain).all()  # one pixel thin


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (640, 480), (60, 900), (900, 60), (1, 1)])
@pytest.mark.parametrize("words", [[DOG], LONG, [("w" * 300, True, [(0, 1.0)])], [("the", False, [(0, 1.0)])]])
def test_pictures_of_any_shape_and_captions_of_any_length_fit(
    size: tuple[int, int], words: list[tuple[str, bool, list[tuple[int, float]]]]
) -> None:
    sheet = explanation_picture.draw(explanation(words), Image.new("RGB", size, "gray"), "run · image 3 · " + "x" * 90)
    assert 900 < sheet.width <= 1600 and sheet.height < 2600
    pixels = np.asarray(sheet)
    assert (pixels[:, :20] == 255).all() and (pixels[:, -20:] == 255).all()  # nothing runs out of its margins
    assert (pixels[:20] == 255).all() and (pixels[-20:] == 255).all()


def test_the_png_is_the_same_every_time(tmp_path: Path) -> None:
    picture = Image.new("RGB", SIZE, "teal")
    for name in ("a.png", "b.png"):
        explanation_picture.write(explanation([DOG]), picture, "facts", tmp_path / "new" / name)
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    with Image.open(tmp_path / "new" / "a.png") as written:
        assert written.format == "PNG"


def test_boxes_of_real_detections_lie_in_the_stored_picture_and_reach_its_edges(shared_data: Path) -> None:
    folder = shared_data / "bua_demo"
    if not folder.exists():
        pytest.skip("bua_demo is not here")
    with np.load(folder / "detections.npz") as detections:
        boxes = detections["boxes"]
    for about, own in zip(json.loads((folder / "meta.json").read_text()), boxes, strict=True):
        with Image.open(folder / "images" / f"{about['img_id']}.jpg") as picture:
            example = explanation([("all", True, [(35, 1.0)])], boxes=own.tolist())
            marks = explanations.all_boxes(example, picture.size)
            assert len(marks) == 36
            for mark, (x1, y1, x2, y2) in zip(marks, own.tolist(), strict=True):
                assert (mark.x, mark.y, mark.width, mark.height) == pytest.approx((x1, y1, x2 - x1, y2 - y1), abs=1)
            assert max(mark.x + mark.width for mark in marks) > 0.9 * picture.width


# The page


def put_explained(root: Path, queries: list[list[Explanation]]) -> None:
    """A run whose text→image queries have these explanations' captions."""
    put_run(root, evaluation("esl-1", "toy", "esl", 1, 20.0))
    folder = root / "results" / "toy" / "esl-1"
    retrieved = json.loads((folder / "retrieved.json").read_text())
    [query] = retrieved["text_to_image"]
    changes = [{"caption": one[0].caption, "kind": ("good", "bad")[i % 2]} for i, one in enumerate(queries)]
    write(folder / "retrieved.json", retrieved | {"text_to_image": [query | change for change in changes]})
    write(folder / "explained.json", Explained(text_to_image=tuple(map(tuple, queries))).model_dump())


def page_of(root: Path) -> str:
    pictures = root / "pictures"
    pictures.mkdir()
    Image.new("RGB", SIZE, "teal").save(pictures / "one.png")
    write_report(collect(root, {"esl-1": "toy"}, {}), root / "report", ReportSettings(title="t"), {"toy": pictures}, {})
    return (root / "report" / "runs" / "esl-1.html").read_text("utf-8")


def test_a_runs_page_shows_each_explained_pair_with_a_picture_for_each_word(tmp_path: Path) -> None:
    cat = ("cat", True, [(1, 0.9)])
    put_explained(
        tmp_path,
        [
            [explanation([("a", False, [(0, 0.4)]), DOG])],
            [explanation([cat]), explanation([cat], image_id=1)],
            [explanation([("cow", True, [(3, 1.0)]), (".", False, [(0, 0.2)])])],
        ],
    )
    page = page_of(tmp_path)
    assert re.findall('aria-label="([^"]*)"><?', page.split("Text → image")[1]) == [
        "all regions: 4 region boxes", "dog: region 1, 60 %; region 3, 36 %",
        "all regions: 4 region boxes", "cow: region 4, 100 %",
        "all regions: 4 region boxes", "cat: region 2, 90 %",
        "all regions: 4 region boxes", "cat: region 2, 90 %",
    ]  # fmt: skip
    assert page.count("look in its own picture") == 3 and page.count("look in the picture found first") == 1
    assert '--look: 0.200">a</span> <span' in page and "cow</span><span" in page  # a full stop close to its word
    ids = re.findall('<mask id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) == 4 and all(f'mask="url(#{one})"' in page for one in ids)
    attached = {path.name for path in page_files(tmp_path / "report", "runs/esl-1.html")}
    assert {"esl-1.html", "style.css", "one.png"} <= attached


def test_a_pair_without_a_picture_and_a_run_without_explanations_show_nothing_of_it(tmp_path: Path) -> None:
    put_explained(tmp_path / "absent", [[explanation([DOG], file_name="gone.png")]])
    put_run(tmp_path / "none", evaluation("esl-1", "toy", "esl", 1, 20.0))
    for root in (tmp_path / "absent", tmp_path / "none"):
        assert "words look" not in page_of(root) and "<svg" not in (root / "report/runs/esl-1.html").read_text("utf-8")


def test_words_are_text_and_never_markup(tmp_path: Path) -> None:
    put_explained(tmp_path, [[explanation([(SCRIPT, True, [(0, 0.5)])])]])
    page = page_of(tmp_path)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4


def test_explanations_of_other_captions_than_the_queries_are_an_error(tmp_path: Path) -> None:
    put_explained(tmp_path, [[explanation([DOG])]])
    folder = tmp_path / "results" / "toy" / "esl-1"
    for other in ((), ((explanation([DOG], caption="a cat"),),)):
        write(folder / "explained.json", Explained(text_to_image=other).model_dump())
        with pytest.raises(DataError, match=r"explained\.json: other captions.*dvc repro judge@esl-1"):
            collect(tmp_path, {"esl-1": "toy"}, {})
    write(folder / "explained.json", {"text_to_image": [[{"caption": "dog"}]]})
    with pytest.raises(DataError, match=r"explained\.json: text_to_image.*image_id"):
        collect(tmp_path, {"esl-1": "toy"}, {})
