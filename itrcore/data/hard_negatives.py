"""SugarCrepe's captions (Hsieh et al., NeurIPS 2023): of a picture a right caption, and one that is altered until it is wrong.

They come as released, a file of each category: {"0": {"filename": …, "caption": …, "negative_caption": …}, …}. Their pictures are
COCO's val2017, all of which are in val2014.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.files import WrongKind, kind_of, read_json, text_of

CATEGORIES = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")

_PICTURE = re.compile(r"(?:COCO_val2014_)?(\d{12})\.jpg")


@dataclass(frozen=True)
class HardNegative:
    """A picture, by COCO's id, with a right caption and a wrong one."""

    category: str
    image_id: int
    caption: str
    negative: str


def read(folder: Path) -> list[HardNegative]:
    """All pairs of all categories. folder: of SugarCrepe's files, or one above it

    `DataError` where a file is missing, is there twice, or is not as released.
    """
    return [pair for category in CATEGORIES for pair in _read(folder, category)]


def _read(folder: Path, category: str) -> list[HardNegative]:
    name = f"{category}.json"
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise DataError.at(folder, f"{len(found)} files {name}", "one, of SugarCrepe", do="See docs/protocols.md.")
    try:
        entries = read_json(found[0])
    except (OSError, ValueError) as error:
        raise DataError.at(found[0], f"cannot be read ({error})", "a JSON file of SugarCrepe") from error
    if not isinstance(entries, dict) or not entries:
        raise DataError.at(found[0], kind_of(entries), "an object with pairs of captions, as SugarCrepe's files are")
    try:
        return [_pair(category, key, entry) for key, entry in entries.items()]
    except WrongKind as error:
        raise DataError.at(found[0], error.found, error.expected) from error


def _pair(category: str, key: str, entry: Any) -> HardNegative:
    where = f"entry {kind_of(key)}"
    if not isinstance(entry, dict):
        raise WrongKind(f"{where} is {kind_of(entry)}", "an object")
    name, caption, negative = (
        text_of(entry.get(part), f"{part} of {where}") for part in ("filename", "caption", "negative_caption")
    )
    if (match := _PICTURE.fullmatch(name)) is None:
        raise WrongKind(f"filename of {where} is {kind_of(name)}", "the name of one of COCO's pictures")
    return HardNegative(category, int(match[1]), caption, negative)
