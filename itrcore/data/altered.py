"""RoCOCO's captions (Park et al., ECCV 2024 workshop): of each test picture its own, and as many in which a word is exchanged.

They come as released, a file of each kind: [{"image": "val2014/COCO_val2014_….jpg", "caption": [own ones …, altered ones …]}, …].
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.files import WrongKind, kind_of, read_json, text_of

# The word comes from the whole vocabulary, from the same or another group of concepts, or from a list of dangerous things.
KINDS = ("rand_voca", "same_concept", "diff_concept", "danger")

_PICTURE = re.compile(r"(?:.*/)?COCO_val2014_(\d{12})\.jpg")


def read(folder: Path) -> dict[str, list[tuple[int, list[str]]]]:
    """Of each kind, for each picture COCO's id and all its captions, own and altered. folder: of the files, or one above it

    `DataError` where a file is missing, is there twice, or is not as released.
    """
    return {kind: _read(folder, kind) for kind in KINDS}


def _read(folder: Path, kind: str) -> list[tuple[int, list[str]]]:
    name = f"{kind}.json"
    found = sorted(folder.rglob(name))
    if len(found) != 1:
        raise DataError.at(folder, f"{len(found)} files {name}", "one, of RoCOCO", do="See docs/protocols.md.")
    try:
        entries = read_json(found[0])
        if not isinstance(entries, list) or not entries:
            raise WrongKind(f"it is {kind_of(entries)}", "a list of pictures with captions, as RoCOCO's files are")
        return [_entry(place, entry) for place, entry in enumerate(entries)]
    except WrongKind as error:
        raise DataError.at(found[0], error.found, error.expected) from error
    except (OSError, ValueError) as error:
        raise DataError.at(found[0], f"cannot be read ({error})", "a JSON file of RoCOCO") from error


def _entry(place: int, entry: Any) -> tuple[int, list[str]]:
    if not isinstance(entry, dict) or not isinstance(captions := entry.get("caption"), list):
        raise WrongKind(f"entry {place} has no list `caption`", "a picture with its captions")
    name = text_of(entry.get("image"), f"image of entry {place}")
    if (match := _PICTURE.fullmatch(name)) is None:
        raise WrongKind(f"image of entry {place} is {kind_of(name)}", "the name of one of COCO's pictures")
    return int(match[1]), [
        text_of(caption, f"caption {number} of entry {place}") for number, caption in enumerate(captions)
    ]
