"""A YAML file as strict settings: every problem is one line that names the file, the key and the nearest valid one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from itrcore import limits
from itrcore.errors import ConfigError, first_line, nearest
from itrcore.files import read_within
from itrcore.settings.strict import Settings

S = TypeVar("S", bound=Settings)

_DEEP = re.compile(rf"[\[{{](?:\s*[\[{{]){{{limits.DEPTH}}}")


def read(path: Path, sections: Iterable[str], missing: str) -> dict[str, Any]:
    """The mapping in a file, as plain data. `ConfigError` as for `parse`.

    missing: what to say where there is no such file
    """
    try:
        text = read_within(path, limits.YAML).decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path.absolute()}: not found; {missing}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return parse(text, path, sections)


def parse(text: str, path: Path, sections: Iterable[str]) -> dict[str, Any]:
    """The mapping that a file of this text holds. `ConfigError` where it is not YAML, no mapping, or says what JSON cannot.

    sections: what the mapping holds, for the message
    """
    # ruamel, as DVC does: YAML 1.2 (5e-4 is a number) and a key given twice is an error.
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Bounded
    try:
        if _DEEP.search(text):  # ruamel would take seconds until Python ends its recursion
            raise RecursionError("brackets too deep inside each other")
        data = yaml.load(text)
    except DuplicateKeyError as error:
        raise ConfigError(
            f"{path}, line {error.problem_mark.line + 1}: {error.problem}; remove one of the two"
        ) from error
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from error
    except (YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except Exception as error:  # what ruamel's makers of numbers, dates and truth values stumble over
        found = first_line(error).partition(";")[0]  # behind it Python's advice to raise its limit of digits
        raise ConfigError(f"{path}: not valid YAML: a value that is not what it looks like: {found}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of sections ({', '.join(sections)})")
    if unfit := list(_not_plain(data, "", ())):
        raise ConfigError("\n".join(f"{path}: {line}" for line in unfit))
    return data


class _Bounded(SafeConstructor):
    """Refuses text whose aliases stand for far more values than it has: nine lines can stand for a billion."""

    def construct_document(self, node: Node) -> Any:
        if _values(node, {}, 0) > limits.VALUES:
            raise YAMLError(f"more than {limits.VALUES:,} values, each alias counted as often as it is used")
        return super().construct_document(node)


def _values(node: Node, known: dict[int, int], depth: int) -> int:
    if depth > limits.DEPTH:
        raise YAMLError(f"mappings or lists more than {limits.DEPTH} deep inside each other")
    if id(node) not in known:
        known[id(node)] = 0  # an anchor that holds itself is refused later, by name
        inner = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        held = (_values(part, known, depth + 1) for part in inner) if isinstance(node, CollectionNode) else ()
        known[id(node)] = 1 + sum(held)
    return known[id(node)]


def settings(model: type[S], data: Any, where: Path | str) -> S:
    """`data` as settings. `ConfigError` with one line per problem, `where` before each."""
    try:
        # Through JSON: strict JSON mode takes lists where Python's strict mode insists on exact container types.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in _lines(error, data))) from error


def overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `changes` in place of its own.

    A mapping of another `kind` replaces the old one as a whole: the keys of the old kind mean nothing to the new one.
    """
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = overlay(base[key], value) if _same_kind(base.get(key), value) else value
    return merged


def _same_kind(old: Any, new: Any) -> bool:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return False
    return "kind" not in new or new["kind"] == old.get("kind")


def _not_plain(value: Any, where: str, above: tuple[int, ...]) -> Iterator[str]:
    """A line for each value that YAML can hold and JSON cannot: settings are checked and stored as JSON."""
    if isinstance(value, dict | list):
        if id(value) in above:
            yield f"{where}: this anchor holds itself"
            return
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            here = f"{where}.{key}".removeprefix(".")
            if isinstance(value, dict) and not isinstance(key, str):
                yield f"{here}: the key {key} is not text but {type(key).__name__}; put it in quotes"
            yield from _not_plain(inner, here, (*above, id(value)))
    elif isinstance(value, int) and value.bit_length() > 64:
        yield f"{where}: a number of more than 64 bits"
    elif isinstance(value, str) and value.encode("utf-8", "ignore").decode() != value:
        yield f"{where}: text with half a character (a lone surrogate)"
    elif not isinstance(value, str | int | float | bool | None):
        yield f"{where}: {value} is not text but {type(value).__name__}; put it in quotes"


def _lines(error: ValidationError, data: Any) -> list[str]:
    """`runs.one: unknown key …`, one line per problem."""
    lines = []
    for item in error.errors():
        where = ".".join(_location(item["loc"], data, keep_last=item["type"] == "missing"))
        lines += [f"{where}: {message}" if where else message for message in _message(item).split("\n")]
    return lines


def _message(item: Any) -> str:
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    message: str = item["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return "this key is missing"
    if kind == "union_tag_not_found":
        return f"the key {context['discriminator']} is missing"
    if kind == "union_tag_invalid":
        tag, known = context["tag"], [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        key = context["discriminator"].strip("'")
        return f"unknown {key} {tag!r}{nearest(tag, known)} (known: {', '.join(known)})"
    if given is None and kind in ("dict_type", "model_type", "model_attributes_type", "list_type"):
        return f"{message}; it is empty (write {{}} or [] for nothing)"
    if kind in ("unknown_key", "value_error") or isinstance(given, dict | list):
        return message
    return f"{message}, not {given!r}"


def _location(loc: tuple[int | str, ...], data: Any, keep_last: bool) -> list[str]:
    """The keys of the file on the way to an error, without the tags that discriminated unions put between them."""
    keys = []
    for depth, part in enumerate(loc):
        inside = isinstance(data, dict) and part in data
        if inside or isinstance(part, int) or (keep_last and depth == len(loc) - 1):
            keys.append(str(part) if str(part).isprintable() else repr(part))
            data = data[part] if inside or isinstance(data, list) else None
    return keys
