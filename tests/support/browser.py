"""A headless Chromium for the pages' tests; they are skipped where there is none. What they ask of every page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# The lowest contrast of any text with what is behind it, by WCAG's relative luminance.
CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parts(colour).slice(0, 3).map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return parts(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  const said = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return Math.min(...[...document.body.querySelectorAll("*")].filter(said).map((element) => {
    const both = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    return (both[0] + 0.05) / (both[1] + 0.05);
  }));
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; playwright's own would be a download of its own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)  # root has no sandbox
        yield browser
        browser.close()
