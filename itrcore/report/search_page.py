"""The page of a search: the pictures that were found, best first, small ones copied beside it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from itrcore.data.pictures import FORMATS
from itrcore.report import pages
from itrcore.report.pictures import Picture

_SIDE = 480  # pixels of the longer side at most


@dataclass(frozen=True)
class Match:
    """A picture that was found: its name, similarity, captions where they are known, and its file's bytes, if it is there."""

    name: str
    score: float
    captions: Sequence[str]
    data: bytes | None


def write_page(
    query: str, asked: bytes | None, matches: Sequence[Match], folder: Path, facts: Mapping[str, str], provenance: Mapping[str, str]
) -> None:  # fmt: skip
    """Write `index.html` and what it shows into `folder`, which is made if needed and otherwise empty.

    query: the text, or the name of the picture; asked: the bytes of that picture, for a search with one
    facts, provenance: name → value, above the pictures and at the foot

    It links relatively, needs no network and no script. The caller makes the writing atomic (`itrcore.files.replacing`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages.write(
        pages.templates(), folder / "index.html", "search.html", "",
        query=query,
        asked=None if asked is None else _small(folder, "query", asked),
        is_picture=asked is not None,
        matches=[(match, match.data and _small(folder, str(place), match.data)) for place, match in enumerate(matches, 1)],
        facts=facts,
        banner={},
        provenance=provenance,
    )  # fmt: skip
    pages.write_assets(folder, "style.css")


def _small(folder: Path, name: str, data: bytes) -> Picture | None:
    """A small copy, turned as its EXIF says, as a viewer of pictures would show it; None where it cannot be read."""
    path = f"pictures/{name}.jpg"
    try:
        with Image.open(io.BytesIO(data), formats=list(FORMATS)) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (
        Exception
    ):  # damaged since it was indexed, for which Pillow's readers raise errors of many types: the page says so
        return None
    small.thumbnail((_SIDE, _SIDE))
    (folder / path).parent.mkdir(exist_ok=True)
    small.save(folder / path, "JPEG", quality=88)
    return Picture(path, *small.size)
