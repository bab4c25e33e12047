"""The pictures that a report shows: found safely, checked, and copied once each into the report's folder."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from itrcore.data.pictures import find

# What browsers show, and the endings that such a file may keep.
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclass(frozen=True)
class Picture:
    """A picture in the report: its path relative to the report's folder, and its size in pixels."""

    path: str
    width: int
    height: int


class Shelf:
    """Copies pictures into `folder`/pictures/<data>/, each once; a picture that cannot be shown is None."""

    def __init__(self, folder: Path, sources: Mapping[str, Path]) -> None:
        self._folder = folder
        self._sources = sources
        self._held: dict[tuple[str, str], Picture | None] = {}

    def get(self, data: str, file_name: str | None) -> Picture | None:
        """The report's copy of a data set's picture; None where it has no name, is absent, unsafe or no picture."""
        if file_name is None or data not in self._sources:
            return None
        key = (data, file_name)
        if key not in self._held:
            self._held[key] = self._copy(data, file_name)
        return self._held[key]

    def _copy(self, data: str, file_name: str) -> Picture | None:
        try:
            source = find(self._sources[data], file_name)
            with Image.open(source, formats=list(FORMATS)) as image:
                kind, (width, height) = str(image.format), image.size
                image.verify()
        except Exception:
            # Absent, outside its folder, damaged or not a picture, for which Pillow's readers raise errors of many types: the
            # page says so in its place, and the report is still made.
            return None
        path = f"pictures/{data}/{safe_name(file_name, FORMATS[kind])}"
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return Picture(path, width, height)


def safe_name(file_name: str, endings: tuple[str, ...]) -> str:
    """A plain name with one of `endings`: the given one where it is plain already, else one made from its digest.

    A made name starts with an underscore and a plain one never does, so the two cannot meet.
    """
    if _PLAIN.fullmatch(file_name) and file_name.lower().endswith(endings):
        return file_name
    return f"_{hashlib.sha256(file_name.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}{endings[0]}"
