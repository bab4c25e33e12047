"""Turning templates into pages that open from disk: relative links, a style sheet beside them."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from itrcore.errors import shown
from itrcore.report import formats


def templates(**known: Any) -> Environment:
    """The report's templates; `known` is what every page may use."""
    environment = Environment(
        loader=PackageLoader("itrcore.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_shown,
    )  # fmt: skip
    environment.filters["url"] = lambda path: quote(path, safe="/")
    environment.globals.update(formats=formats, **known)
    return environment


def _shown(value: Any) -> Any:
    """Every text as it may be shown: captions, file names and records are from outside."""
    if not isinstance(value, str):
        return value
    return Markup(shown(value)) if isinstance(value, Markup) else shown(value)


def write(environment: Environment, path: Path, template: str, up: str, **context: Any) -> None:
    """Write one page; `up` leads from its folder to that of the style sheet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lone surrogate in a caption is no valid UTF-8; it becomes a question mark instead of ending the report.
    text = environment.get_template(template).render(up=up, **context)
    path.write_bytes(text.encode("utf-8", "replace"))


def write_assets(folder: Path, *names: str) -> None:
    """Put files that pages name, such as the style sheet, into the folder."""
    for name in names:
        with as_file(files("itrcore.report") / "templates" / name) as asset:
            shutil.copyfile(asset, folder / name)
