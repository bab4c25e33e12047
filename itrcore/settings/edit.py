"""A new entry of params.yaml: nothing else in that file changes, and it is valid before it takes the old one's place."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from itrcore.errors import ConfigError
from itrcore.files import replacing
from itrcore.settings.load import load, load_text


def add(path: Path, section: str, name: str, settings: Mapping[str, Any]) -> None:
    """Put `<section>.<name>` into params.yaml, comments and order kept. `ConfigError` as for `text_with`."""
    text = text_with(path, section, name, settings)
    with replacing(path.resolve()) as temporary:  # a link to params.yaml stays one
        temporary.write_text(text, "utf-8")


def text_with(path: Path, section: str, name: str, settings: Mapping[str, Any]) -> str:
    """The text of params.yaml with `<section>.<name>` added, checked.

    section: one that holds entries by name, such as `datasets`
    `ConfigError` where the file is not valid now, has that entry already, or would not be valid with it.
    """
    if name in getattr(load(path), section):
        raise ConfigError(f"{path}: {section}.{name} is there already; choose another name or remove it first")
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # no line is wrapped
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(path.read_text("utf-8"))
    if not document[section]:
        document[section] = CommentedMap()
    # First, not last: for the YAML library a comment above the next section belongs to the entry before it.
    document[section].insert(0, name, _in_house_style(settings))
    stream = io.StringIO()
    yaml.dump(document, stream)
    load_text(stream.getvalue(), path)
    return stream.getvalue()


def _in_house_style(settings: Mapping[str, Any]) -> CommentedMap:
    """The entry as the YAML library's mapping; one that holds no other mappings stands on one line."""
    entry = CommentedMap()
    for key, value in settings.items():
        entry[key] = _in_house_style(value) if isinstance(value, Mapping) else value
    if not any(isinstance(value, Mapping) for value in settings.values()):
        entry.fa.set_flow_style()
    return entry
