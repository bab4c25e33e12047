"""The table of captions that a user brings: a CSV with the columns `image` and `caption`, and `split` if it is given."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from itrcore.errors import DataError
from itrcore.files import WrongKind, inside
from itrcore.unpacking import lines

# `val` is what most data sets call the split that a model is selected on.
_SPLITS = {"train": "train", "dev": "dev", "val": "dev", "test": "test"}
_SAVE = "Save the table as UTF-8, columns separated by commas (tabs in a .tsv), quotes doubled inside a quoted caption."


@dataclass(frozen=True)
class OwnImage:
    """One image: its name in the table, its captions, its split where the table gives one, and its first line, from 1."""

    name: str
    split: str | None
    line: int
    captions: list[str] = field(default_factory=list)


def read(path: Path) -> list[OwnImage]:
    """The images in the order in which the table first names them; white space in captions becomes single spaces.

    A `.tsv` has tabs between its columns, everything else commas. Other columns are ignored. `DataError` names the line
    of what cannot be read, a missing column, an empty cell, an unsafe file name, an unknown split or an image in two, and
    of a quotation mark that takes the lines after it into its cell.
    """
    rows = _rows(path)
    line, cells = next(rows, (1, []))
    header = [cell.strip().lower() for cell in cells]
    if not {"image", "caption"} <= set(header) or len(set(header)) < len(header):
        found = f"found the columns {', '.join(cells) or '(none)'}"
        raise DataError.at(f"{path}, line {line}", found, "a first line with image and caption, each once", do=_SAVE)
    place, tab = header.index("image"), _delimiter(path)
    _check_quotes(path, line, cells, place, tab)
    images: dict[str, OwnImage] = {}
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) != len(header):
            raise DataError.at(where, f"found {len(cells)} columns", f"{len(header)} as in the first line", do=_SAVE)
        _check_quotes(path, line, cells, place, tab)
        row = dict(zip(header, cells, strict=True))
        name, caption = row["image"].strip(), " ".join(row["caption"].split())
        if not inside(name) or not PurePosixPath(name).name:
            raise DataError.at(where, f"found the image {name!r}", "a file name inside the images' folder")
        if not caption:
            raise DataError.at(where, f"an empty caption of {name}", "words", do="Write one or remove the line.")
        image = images.setdefault(name, OwnImage(name, _split(where, row), line))
        if image.split != _split(where, row):
            found = f"{name} is in split {row['split'].strip()!r} here and in another one in line {image.line}"
            raise DataError.at(where, found, "every image in one split")
        image.captions.append(caption)
    if not images:
        raise DataError.at(path, "no captions", "one on each line after the first")
    return list(images.values())


def _split(where: str, row: dict[str, str]) -> str | None:
    if "split" not in row:
        return None
    given = row["split"].strip().lower()
    if given not in _SPLITS:
        raise DataError.at(where, f"found the split {given!r}", f"one of {', '.join(_SPLITS)}")
    return _SPLITS[given]


def _check_quotes(path: Path, line: int, cells: Sequence[str], place: int, delimiter: str) -> None:
    """`DataError` where a cell holds whole rows: a quotation mark at its start that belongs to the text, and a later one.

    A quoted cell may span lines, so the reader cannot tell. What gives it away is an image in the place of the column.
    place: of the column `image`
    """
    for column, cell in enumerate(cells):
        first, *others = re.split(r"\r\n?|\n", cell)
        if others:
            # The cell starts in its own column; the lines after it start in the first one.
            held = [(first.split(delimiter), place - column), *((other.split(delimiter), place) for other in others)]
            named = any(0 <= at < len(parts) > 1 and _is_image(parts[at], cells[place]) for parts, at in held)
            if named or column == place:
                raise DataError.at(
                    f"{path}, line {line}",
                    f'a cell that begins with a quotation mark and takes in the lines after it ("{first[:40]}…)',
                    "the rows after it as rows of their own",
                    do='Write "" for each quotation mark of the text and put quotation marks around the cell; '
                    "a caption of several lines is best written in one.",
                )
        line += len(others)


def _is_image(text: str, image: str) -> bool:
    """Whether a text could stand in the column `image` of a table that has this image."""
    ending = re.compile(r"\w\.\w{2,5}$")
    if ending.search(text := text.strip()):
        return True
    return bool(text) and not ending.search(image.strip()) and len(text.split()) == 1


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line it starts on."""
    reader = csv.reader(_lines(path), delimiter=_delimiter(path), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError.at(f"{path}, line {line}", f"found {error}", "a row of a table", do=_SAVE) from error
        if any(cell.strip() for cell in cells):
            yield line, cells


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, "rb") as handle:
            for line, data in enumerate(lines(handle), 1):
                try:
                    yield data.decode("utf-8-sig" if line == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    found = f"bytes that are not UTF-8 ({error.reason})"
                    raise DataError.at(f"{path}, line {line}", found, "UTF-8 text", do=_SAVE) from error
    except WrongKind as error:
        raise DataError.at(path, error.found, error.expected, do=_SAVE) from error
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({error.strerror})", "a CSV file of captions") from error
