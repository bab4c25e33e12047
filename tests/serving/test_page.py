"""The search page in a browser: by keyboard, with a picture, with reasons, on a phone, without an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.serving.conftest import Served
from tests.support.browser import CONTRASTS, DESK, PHONE
from tests.support.picture_data import encoded, photo


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What the pages of a test complain about: nothing."""
    said: list[str] = []
    yield said
    assert not said


def opened(browser: Browser, url: str, wrong: list[str], **options: Any) -> Page:
    page = browser.new_page(**{"viewport": DESK, **options})
    page.set_default_timeout(20_000)  # milliseconds
    expect.set_options(timeout=20_000)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(url)
    return page


def names(page: Page) -> list[str]:
    return page.locator("#found .name").all_inner_texts()


def found_by(served: Served, text: str) -> list[str | None]:
    return [served.gallery.items[match.item].name for match in served.gallery.search(text, 12)]


def test_by_keyboard_a_text_finds_pictures_and_why(browser: Browser, sets: Served, wrong: list[str]) -> None:
    page = opened(browser, sets.address, wrong)
    text = sets.gallery.items[0].captions[0]
    page.keyboard.type(text)  # the box has the focus
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("8 best pictures, in ")
    assert names(page) == found_by(sets, text)
    assert page.evaluate("Promise.all([...document.images].map((image) => image.src && image.decode()))") is not None
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "why":
            break
    page.keyboard.press("Enter")  # the first picture's
    drawn = page.locator("li.looks .panels figure")
    expect(drawn.first).to_be_visible()
    words = page.locator(".tinted span").all_inner_texts()
    explained = sets.gallery.why(text, sets.gallery.search(text, 1)[0].item)
    assert explained is not None and words == [word.text for word in explained[0].words]
    assert drawn.first.locator("rect.box").count() == 6 and drawn.count() > 1
    assert page.locator("#drop").count() == 0  # this run takes no pictures
    page.keyboard.press("Enter")
    expect(drawn).to_have_count(0)
    page.reload()  # the address has the search
    expect(page.get_by_role("status")).to_contain_text("8 best pictures")
    page.get_by_label("What is in the picture?").fill("a\x07")
    wrong.clear()
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("status")).to_contain_text("Text: control characters in it")
    assert not page.locator("#found").is_visible()
    assert [each for each in wrong if "422" not in each] == []  # the browser itself notes that
    wrong.clear()


def test_a_dropped_picture_finds_captions_that_can_be_searched(
    browser: Browser, vectors: Served, wrong: list[str], tmp_path: Path
) -> None:
    page = opened(browser, vectors.address, wrong)
    (tmp_path / "mine.jpg").write_bytes(vectors.gallery.picture(2))
    handed = page.evaluate_handle(
        """async (url) => {
          const data = new DataTransfer();
          data.items.add(new File([await (await fetch(url)).blob()], "mine.jpg", { type: "image/jpeg" }));
          return data;
        }""",
        "/api/pictures/2",
    )
    page.dispatch_event("main", "drop", {"dataTransfer": handed})
    expect(page.locator("#captions li")).to_have_count(12)
    expect(page.get_by_role("heading", name="Similar pictures")).to_be_visible()
    assert names(page)[0] == vectors.gallery.items[2].name
    page.get_by_label("Or drop a picture here").set_input_files(tmp_path / "mine.jpg")  # without a mouse
    expect(page.get_by_role("status")).to_contain_text("Searched in ")
    caption = page.locator("#captions button").first
    text = caption.inner_text()
    caption.click()
    expect(page.get_by_role("heading", name="Pictures found")).to_be_visible()
    assert names(page) == found_by(vectors, text)
    (tmp_path / "cut.jpg").write_bytes(encoded(photo(0))[:-300])
    page.get_by_label("Or drop a picture here").set_input_files(tmp_path / "cut.jpg")
    expect(page.get_by_role("status")).to_contain_text("The picture: damaged or cut short")
    assert all("422" in each for each in wrong)
    wrong.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(browser: Browser, sets: Served, wrong: list[str], scheme: Any) -> None:
    page = opened(browser, f"{sets.address}/?q=a+circle", wrong, viewport=PHONE, color_scheme=scheme)
    page.locator(".why").first.click()
    expect(page.locator("li.looks")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(CONTRASTS) >= 4.5
    box = page.locator("#found .pictures li").first.bounding_box()
    assert box is not None and box["y"] < 3 * PHONE["height"]
