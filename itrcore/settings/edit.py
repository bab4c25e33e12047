"""A new entry of params.yaml: not a byte else changes in that file, and it is valid before it takes the old one's place."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, MappingNode
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from itrcore.errors import ConfigError
from itrcore.files import replacing
from itrcore.settings import yaml_file
from itrcore.settings.load import load, load_text
from itrcore.settings.params import Params


def add(path: Path, section: str, name: str, settings: Mapping[str, Any]) -> None:
    """Put `<section>.<name>` into params.yaml; all else stays as it is. `ConfigError` as for `text_with`."""
    text = text_with(path, section, name, settings)
    mark = codecs.BOM_UTF8 if path.read_bytes().startswith(codecs.BOM_UTF8) else b""
    with replacing(path.resolve()) as temporary:  # a link to params.yaml stays one
        temporary.write_bytes(mark + text.encode())


def text_with(path: Path, section: str, name: str, settings: Mapping[str, Any]) -> str:
    """The text of params.yaml with `<section>.<name>` added, checked; lines end as they do there.

    section: one that holds entries by name, such as `datasets`
    `ConfigError` where the file is not valid now, has that entry already, or would not be valid with it.
    """
    if name in getattr(load(path), section):
        raise ConfigError(f"{path}: {section}.{name} is there already; choose another name or remove it first")
    old = path.read_bytes().decode("utf-8-sig")
    new = _inserted(old, section, {name: _in_house_style(settings)})
    before = yaml_file.parse(old, path, Params.model_fields)
    try:
        after = yaml_file.parse(new, path, Params.model_fields)
    except ConfigError:
        after = before
    if after != {**before, section: {name: after[section].get(name)} | (before[section] or {})}:  # an anchor, say
        raise ConfigError(f"{path}: {section}: written so that nothing can be added to it; add {name} by hand")
    load_text(new, path)
    return new


def _inserted(text: str, section: str, entry: Mapping[str, Any]) -> str:
    """`text` with the entry as the section's first: for YAML a comment above the next section belongs to the last one."""
    key, value = next(pair for pair in YAML(typ="safe", pure=True).compose(text).value if pair[0].value == section)
    held = value.value if isinstance(value, MappingNode) else []
    if held and value.flow_style:
        inside = value.start_mark.index + 1
        return f"{text[:inside]}{_flow(entry)}, {text[inside:]}"
    if not held and value.start_mark.index < value.end_mark.index:  # {} or null
        text = text[: value.start_mark.index].rstrip(" ") + text[value.end_mark.index :]
    line = re.compile("[^\r\n]*(\r?\n)?").match(text, key.end_mark.index)
    assert line is not None
    end = line[1] or ("\r\n" if "\r\n" in text else "\n")
    indent = " " * (held[0][0].start_mark.column if held else 2)
    lines = "".join(f"{indent}{line}{end}" for line in _block(entry).splitlines())
    return text[: line.end()] + ("" if line[1] else end) + lines + text[line.end() :]


def _block(entry: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.width = 1_000_000  # no line is wrapped
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(dict(entry), stream)
    return stream.getvalue()


def _flow(entry: Mapping[str, Any]) -> str:
    """The entry as it stands within braces."""
    yaml = YAML()
    yaml.width = 1_000_000
    yaml.default_flow_style = True
    stream = io.StringIO()
    yaml.dump(dict(entry), stream)
    return stream.getvalue().strip()[1:-1]


def _in_house_style(settings: Mapping[str, Any]) -> CommentedMap:
    """The entry as the YAML library's mapping; one that holds no other mappings stands on one line."""
    entry = CommentedMap()
    for key, value in settings.items():
        if isinstance(value, str) and ":" in value:  # which DVC's reader takes for a key, within braces
            value = DoubleQuotedScalarString(value)
        entry[key] = _in_house_style(value) if isinstance(value, Mapping) else value
    if not any(isinstance(value, Mapping) for value in settings.values()):
        entry.fa.set_flow_style()
    return entry
