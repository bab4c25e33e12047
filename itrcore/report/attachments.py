"""Which files a page of the report needs to be shown on its own: for the artifacts of its MLflow run."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def page_files(folder: Path, page: str) -> dict[Path, str]:
    """The page and every style sheet and picture it refers to: file → its folder relative to the report's.

    page: relative to `folder`. Links to other pages are left out.
    """
    finder = _References()
    finder.feed((folder / page).read_text("utf-8"))
    files = {folder / page: str(Path(page).parent)}
    for reference in finder.references:
        # By name alone, without following links: DVC may have put links into its cache in the files' places.
        inside = Path(os.path.normpath(Path(page).parent / unquote(urlsplit(reference).path)))
        if ".." not in inside.parts and inside.suffix != ".html" and (folder / inside).is_file():
            files[folder / inside] = str(inside.parent)
    return {path: "" if inside == "." else inside for path, inside in files.items()}


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("src", "href"):
                self.references.append(value)
            elif value and name == "srcset":
                self.references += [candidate.split()[0] for candidate in value.split(",") if candidate.strip()]
