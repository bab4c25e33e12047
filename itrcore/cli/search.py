"""`itr search`: pictures for a text, or like a picture, on the terminal and as a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from itrcore import layout
from itrcore.answer import Answer
from itrcore.cli.index import SEARCHES, located
from itrcore.errors import DataError
from itrcore.terminal import Screen, say

if TYPE_CHECKING:
    from itrcore.index.opened import Found, PictureIndex

PAGE = "index.html"


def search(
    text: str | None = typer.Argument(None, help="what the pictures should show"),
    image: Path | None = typer.Option(None, help="a picture, in place of a text: the ones like it"),
    index: Path | None = typer.Option(None, help="the index's folder; else the newest in indexes/"),
    k: int = typer.Option(10, "--top", "-k", min=1, help="pictures that are shown"),
    rescore: str | None = typer.Option(None, help="a run that compares sets, which scores the first ones again"),
    proposed: int = typer.Option(100, help="how many it scores"),
    exact: bool = typer.Option(False, "--exact", help="compare every vector, whatever the index's kind is"),
    out: Path | None = typer.Option(None, help=f"the folder of the page; else {SEARCHES}/INDEX/QUERY"),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps"),
) -> Answer:
    """Search an index that itr index made."""
    if (text is None) == (image is None):
        raise DataError("expected either a text or --image")
    query = text if image is None else image
    assert query is not None
    if text is not None and not text.strip():
        raise DataError("the text is empty; expected what the pictures should show")
    if text is not None and text.encode("utf-8", "ignore").decode() != text:
        raise DataError("the text is not UTF-8")
    if image is not None and rescore is not None:
        raise DataError("--rescore needs a text: a run that compares sets compares pictures with texts")
    if out is not None and out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / PAGE).exists())):
        raise DataError.at(out, "it holds something else", "a page of a search, or nothing")
    from itrcore.files import replacing
    from itrcore.index.opened import open_index
    from itrcore.retriever.load import load

    opened = open_index(index or _newest(), device)
    facts = {"Index": opened.folder.name, "Pictures": f"{len(opened):,}", "Run": opened.record.run}
    if rescore is not None:
        from itrcore.index.rescoring import Rescorer

        assert text is not None
        again = load(located(rescore), device)
        found = Rescorer(opened, again).search(text, k, max(k, proposed), exact)
        facts["Scored again by"] = f"{again.record.name}, the first {max(k, proposed):,}"
    else:
        found = opened.search(query, k, exact)
    folder = out or SEARCHES / opened.folder.name / _slug(query if isinstance(query, str) else query.name)
    with replacing(folder) as temporary:
        _write_page(opened, query if isinstance(query, str) else query.name, image, found, temporary, facts)
    matches = [
        {"picture": match.name, "similarity": match.score, "captions": opened.captions(match.item)} for match in found
    ]

    def show() -> None:
        _print(opened, found)
        say(str(folder / PAGE))

    asked = {"query": query, "index": opened.folder, "run": opened.record.run, "rescored_by": rescore}
    return Answer({**asked, "page": folder / PAGE, "found": matches}, show)


def _print(opened: PictureIndex, found: list[Found]) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", justify="right")
    table.add_column("similarity", justify="right")
    table.add_column("picture")
    for place, match in enumerate(found, 1):
        captions = opened.captions(match.item)
        shown = f"{match.name}: {captions[0]}" if captions else match.name
        table.add_row(str(place), f"{match.score:.3f}", Text(shown))
    Screen(highlight=False).print(table)


def _write_page(
    opened: PictureIndex, asked: str, image: Path | None, found: list[Found], folder: Path, facts: dict[str, str]
) -> None:
    from itrcore.data.pictures import read_bytes
    from itrcore.provenance import code_version
    from itrcore.report.search_page import Match, write_page

    matches = []
    for match in found:
        try:
            data = opened.picture(match.item)
        except DataError:  # moved or removed since: the page says so in its place
            data = None
        matches.append(Match(match.name, match.score, opened.captions(match.item), data))
    shown = None if image is None else read_bytes(image)
    write_page(asked, shown, matches, folder, facts, {"Searched by code version": code_version()})


def _slug(query: str) -> str:
    """A query as the name of a folder."""
    words = re.sub(r"[^\w]+", "-", query.lower()).strip("-")[:60]
    return words or "query"


def _newest() -> Path:
    from itrcore.index.record import RECORD

    found = sorted(layout.index("x").parent.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise DataError(f"{layout.index('x').parent}: no index in it; expected one. Make it with: itr index")
    return found[-1].parent
