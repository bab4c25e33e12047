"""An explanation as one picture: the caption, all regions, then a picture for each word. What `itr explain` writes as PNG."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageChops, ImageDraw, ImageFont

from itrcore.files import replacing
from itrcore.report.explanations import (
    DARK,
    EVEN,
    LEGEND,
    Mark,
    all_boxes,
    attached,
    left_out,
    marks,
    shown,
    strength,
    thickness,
    tint,
)
from itrcore.runs.examples import Explanation, Word

# Pixels.
_WIDTH, _MARGIN, _GAP, _CELL = 1600, 40, 24, 362
_NARROWEST = 220  # of a cell, for its word
_PAPER, _INK, _QUIET, _BOX, _UNDER = "#ffffff", "#1b1f24", "#57606a", "#ffe04d", "#000000"
_TINT = (255, 184, 0)


def draw(explanation: Explanation, picture: Image.Image, facts: str) -> Image.Image:
    """The explanation as one picture: caption, all regions, then a picture for each word.

    picture: RGB; facts: one line below the caption
    """
    words = shown(explanation.words)
    scale = min(_CELL / picture.width, _CELL / picture.height)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    cell = max(small.width, _NARROWEST)
    columns = min((_WIDTH - 2 * _MARGIN + _GAP) // (cell + _GAP), len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    width = max(2 * _MARGIN + columns * (cell + _GAP) - _GAP, _WIDTH * 5 // 8)
    lines = _lines(explanation.words, width - 2 * _MARGIN)
    texts = (facts, f"{LEGEND} {left_out(explanation)}".rstrip())
    notes = [line for text in texts for line in _wrapped(text, _font(19), width - 2 * _MARGIN)]
    top = _MARGIN + len(lines) * 50 + len(notes) * 28 + 26
    step = small.height + 40 + 26
    sheet = Image.new("RGB", (width, top + rows * step - 26 + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _draw_caption(pen, lines, explanation)
    for number, line in enumerate(notes):
        pen.text((_MARGIN, _MARGIN + len(lines) * 50 + 6 + 28 * number), line, _QUIET, _font(19))
    for number, word in enumerate((None, *words)):
        x, y = _MARGIN + number % columns * (cell + _GAP), top + number // columns * step
        title = word.text if word else "all regions"
        note = _note(word, explanation) if word else str(len(explanation.boxes))
        _draw_title(pen, title, note, (x, y), cell)
        panel = _panel(small, scale, explanation, word, picture.size)
        sheet.paste(panel, (x + (cell - small.width) // 2, y + 40))
    return sheet


def write(explanation: Explanation, picture: Image.Image, facts: str, path: Path) -> None:
    """Write `draw` as PNG, atomically; the same explanation gives the same bytes."""
    with replacing(path) as temporary:
        draw(explanation, picture, facts).save(temporary, "PNG")


def _panel(
    small: Image.Image, scale: float, explanation: Explanation, word: Word | None, size: tuple[int, int]
) -> Image.Image:
    if word is None:
        dimmed = Image.blend(small, Image.new("RGB", small.size, _UNDER), DARK / 2)
        panel = dimmed.copy()
        for mark in all_boxes(explanation, size):
            ImageDraw.Draw(panel).rectangle(_scaled(mark, scale, small.size), None, _BOX, 1)
        return Image.blend(dimmed, panel, 0.75)  # many boxes: the picture must still be seen
    panel = small.copy()
    drawn = [(mark, _scaled(mark, scale, small.size)) for mark in marks(word, explanation, size)]
    dark = Image.new("L", small.size, 255)
    for mark, box in drawn:
        light = Image.new("L", small.size, 255)
        ImageDraw.Draw(light).rectangle(box, round(255 * (1 - mark.share)))
        dark = ImageChops.multiply(dark, light)
    panel.paste(Image.new("RGB", small.size, _UNDER), mask=dark.point(lambda value: value * DARK))
    pen = ImageDraw.Draw(panel)
    for mark, _ in reversed(drawn):
        line = round(thickness(mark.share) * 1.6)
        pen.rectangle(_scaled(mark, scale, small.size, line + 1), None, _UNDER, line + 2)
        pen.rectangle(_scaled(mark, scale, small.size, line), None, _BOX, line)
    return panel


def _scaled(mark: Mark, scale: float, size: tuple[int, int], grown: int = 0) -> tuple[int, int, int, int]:
    """A mark's corners in pixels of the panel, inside it and never empty.

    grown: pixels that each side moves outwards: lines are drawn around a region, as they would hide a small one
    """
    x1, y1 = (max(0, min(round(scale * at) - grown, side - 2)) for at, side in zip((mark.x, mark.y), size, strict=True))
    far = (mark.x + mark.width, mark.y + mark.height)
    x2, y2 = (
        max(near + 1, min(round(scale * at) - 1 + grown, side - 1))
        for near, at, side in zip((x1, y1), far, size, strict=True)
    )
    return x1, y1, x2, y2


def _note(word: Word, explanation: Explanation) -> str:
    strongest = strength(word, explanation)
    return strongest if strongest == EVEN else f"region {word.looks[0].region + 1} · {strongest}"


def _draw_title(pen: ImageDraw.ImageDraw, title: str, note: str, at: tuple[int, int], width: int) -> None:
    note_width = pen.textlength(note, _font(19))
    title = _fitting(title, _font(23, bold=True), width - note_width - 16)
    pen.text((at[0], at[1] + 28), title, _INK, _font(23, bold=True), "ls")
    pen.text((at[0] + width, at[1] + 28), note, _QUIET, _font(19), "rs")


def _draw_caption(
    pen: ImageDraw.ImageDraw, lines: list[list[tuple[float, str, Word]]], explanation: Explanation
) -> None:
    font = _font(30)
    for number, line in enumerate(lines):
        y = _MARGIN + number * 50
        for x, text, word in line:
            colour = tuple(round(255 + (c - 255) * 0.8 * tint(word, explanation)) for c in _TINT)
            end = _MARGIN + x + pen.textlength(text, font)
            pen.rounded_rectangle((_MARGIN + x - 4, y - 2, end + 4, y + 38), 6, colour)
            pen.text((_MARGIN + x, y + 29), text, _INK if word.named else _QUIET, font, "ls")


def _lines(words: Iterable[Word], width: float) -> list[list[tuple[float, str, Word]]]:
    """The caption's words on lines of at most that width: each word's x on its line, the text of it that fits, the word."""
    font = _font(30)
    lines: list[list[tuple[float, str, Word]]] = [[]]
    x = 4.0
    for word in words:
        text = _fitting(word.text, font, width - 8)
        length, space = font.getlength(text), 2 if attached(text) else 14
        if lines[-1] and x + space + length > width - 4:
            lines.append([])
            x = 4.0
        x += space if lines[-1] else 0
        lines[-1].append((x, text, word))
        x += length
    return lines


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_fitting(line, font, width) for line in lines]


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    text = text[: int(width)]  # no letter is narrower than a pixel
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """matplotlib's own font: the same on every machine, and it has the letters of most scripts."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    # Not Raqm, which not every build of Pillow has: the same bytes everywhere.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
