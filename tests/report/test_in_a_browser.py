"""The report in a browser: no errors, pictures, sorting and filtering, on a phone, by keyboard, and without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from itrcore.report.html import write_report
from itrcore.report.results import collect
from itrcore.settings.evaluation import ReportSettings
from tests.support.browser import CONTRASTS, DESK, PHONE
from tests.support.report_data import efficiency, evaluation, put_ensemble, put_run

F30K = {"features": "bottom-up attention", "n_images": 1000, "n_captions": 5000}
OURS = "tbody:not(.references) tr:not([hidden]) th"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods and an ensemble on a benchmark with another protocol; pictures, published figures and reference rows."""
    root = tmp_path_factory.mktemp("results")
    timed = efficiency(False, 30.0, measured=5_000)
    Image.new("RGB", (8, 6), "red").save(root / "one.png")
    for name, method, r1, ms in (("a", "esa_bigru", 40.0, 0.5), ("b", "weak", 30.0, None), ("c", "best", 50.0, 10.0)):
        protocols = {"eccv": {"i2t_map_at_r": r1, "t2i_map_at_r": 90 - r1}}
        put_run(
            root,
            evaluation(
                name, "flickr", method, 1, r1, encode_image_ms=ms, protocols=protocols, **F30K, efficiency=timed
            ),
        )
    both = {"members": ["a", "b"], "profile": None, "train_seconds": None, "encode_image_ms": None}
    put_ensemble(root, evaluation("both", "flickr", None, None, 49.9, protocols=protocols, **F30K, **both))
    results = collect(
        root, dict.fromkeys("abc", "flickr"), {"both": "flickr"}, {"flickr": "f30k"}, {"flickr": ["eccv"]}
    )
    write_report(results, root / "report", ReportSettings(title="Tests"), {"flickr": root}, {"Command": "dvc repro"})
    return root / "report"


@pytest.fixture
def index(browser: Browser, report: Path) -> Page:
    page = browser.new_page(viewport=DESK)
    page.set_default_timeout(10_000)  # milliseconds
    page.goto((report / "index.html").as_uri())
    return page


def names(page: Page, table: int = 0) -> list[str]:
    """The first words of a table's rows that are shown, in their order; without what others published."""
    return [text.split()[0] for text in page.locator("table").nth(table).locator(OURS).all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_loads_without_an_error_fits_a_phone_shows_its_pictures_and_can_be_read(
    browser: Browser, report: Path, scheme: Literal["light", "dark"]
) -> None:
    page, wrong = browser.new_page(viewport=PHONE, color_scheme=scheme), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    pages = sorted(report.rglob("*.html"))
    assert {path.parent.name for path in pages} == {"report", "runs", "ensembles", "c", "analysis"}
    for path in pages:
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        assert page.evaluate(CONTRASTS) >= 4.5, path
        widths = page.evaluate(
            """Promise.all([...document.images].map(async (image) => {
              image.loading = "eager";
              await image.decode();
              return image.naturalWidth;
            }))"""
        )
        assert widths and all(widths), path
    assert not wrong


def test_the_first_screen_of_a_phone_has_three_answers_and_the_table_its_figures(
    browser: Browser, report: Path
) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto((report / "index.html").as_uri())
    answers = page.locator(".answer dd").all_inner_texts()
    assert answers[0] == "best/small: rsum 360.0 (344–376)"
    assert answers[1].startswith("+60.0 over esa_bigru/small (+") and "Not told apart: both (−0.6, p 0." in answers[1]
    search = "3.0 s to search 100,000 images for a caption (extrapolated)"
    assert answers[2] == f"{search}, trained in 12.3 s, 2.1 M parameters. Of those not told apart none is cheaper."
    for place in (page.locator(".answer"), page.locator("table").first.locator("tbody td").first):
        box = place.bounding_box()
        assert box is not None and box["x"] + box["width"] <= PHONE["width"]
    box = page.locator(".answer").bounding_box()
    assert box is not None and box["y"] + box["height"] <= PHONE["height"]
    page.locator(".answer dd a").nth(1).click()
    assert page.title() == "c and a · Tests" and page.locator(".pairs img").count() > 0


def test_a_heading_sorts_by_click_and_key_the_best_first_and_what_others_published_stays_apart(index: Page) -> None:
    def sort(heading: str, table: int = 0) -> list[str]:
        index.locator("table").nth(table).get_by_role("button", name=heading, exact=True).first.click()
        return names(index, table)

    assert sort("rsum") == ["best", "both", "esa_bigru", "published", "weak"]
    assert sort("rsum") == ["weak", "esa_bigru", "published", "both", "best"]
    assert sort("mean rank") == ["weak", "esa_bigru", "published", "both", "best"]  # equal ones stay as they were
    assert sort("to the best") == ["both", "esa_bigru", "published", "weak", "best"]  # which has none
    index.keyboard.press("Enter")
    assert names(index) == ["weak", "esa_bigru", "published", "both", "best"]
    assert index.locator("[aria-sort=ascending]").inner_text() == "to the best"
    assert sort("per image", 2) == ["esa_bigru", "best", "both", "weak"]  # what was not measured last
    others = index.locator("table").first.locator(".references th").all_inner_texts()
    assert others[:2] == ["Published by others, not measured here", "CLIP ViT-B/32"] and len(others) == 9


def test_rows_are_filtered_by_words_and_kind_and_one_protocol_is_shown(index: Page) -> None:
    told, tables = index.get_by_role("status"), index.locator("table")
    assert [table.is_visible() for table in tables.all()] == [True, False, True]
    assert told.inner_text() == "12 of 12 rows"
    index.get_by_label("Filter rows").fill("SMALL esa")
    assert names(index) == ["esa_bigru", "published"] and told.inner_text() == "1 of 12 rows"
    assert not index.locator(".references").first.is_visible()
    index.get_by_label("Filter rows").fill("")
    index.get_by_label("Kind").select_option("Ensembles")
    assert names(index) == ["both"] == names(index, 2)
    index.get_by_label("Kind").select_option("Published by others")
    index.get_by_label("Protocol").select_option("ECCV Caption")
    assert [table.is_visible() for table in tables.all()] == [False, True, True]
    assert told.inner_text() == "3 of 7 rows" and names(index, 1) == []
    index.get_by_label("Kind").select_option("All")
    assert names(index, 1) == ["best", "both", "esa_bigru", "weak"]


def test_without_scripts_all_tables_stand_below_each_other(browser: Browser, report: Path) -> None:
    page = browser.new_context(java_script_enabled=False, viewport=DESK).new_page()
    page.goto((report / "index.html").as_uri())
    assert [table.is_visible() for table in page.locator("table").all()] == [True, True, True]
    assert page.locator("button, input, select").count() == 0
    assert names(page) == ["best", "both", "esa_bigru", "published", "weak"]
