"""Errors meant for users: what was wrong, where, what was expected, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Control characters and those that turn the direction of writing: a terminal obeys them. Lone surrogates cannot be written.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PASSWORD = re.compile(r"(?<=://)[^\s/@]*@")
_TOKEN = re.compile(r"(?i)([?&][\w-]*(?:token|key|secret|signature|password|credential)[\w-]*=)[^&\s#'\"]+")

_LINE = 1200  # characters of a line of a message


def shown(text: str) -> str:
    """A text from outside as it may be shown: without passwords and tokens of addresses, and with `\\x1b` for an escape.

    Ends of lines stay.
    """
    text = _TOKEN.sub(r"\1…", _PASSWORD.sub("", text))
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _short(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 300]} … {line[-300:]}"


class ITRError(Exception):
    """Base of all errors that a user can cause and mend; commands print them without a traceback.

    The message goes through `shown`: it often quotes what a file or a server says. Very long lines lose their middle.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(_short, shown(message).split("\n"))))


class ConfigError(ITRError):
    """`params.yaml` holds something that cannot be run."""


class DataError(ITRError):
    """A data file is missing, damaged or not what its format says."""

    @classmethod
    def at(cls, path: Path | str, found: str, expected: str, row: int | None = None, do: str = "") -> DataError:
        """One sentence in a fixed order: file (and row), what was found, what was expected, what to do.

        `row` counts from 0, as the arrays do.
        """
        where = f"{path}" if row is None else f"{path}, row {row}"
        return cls(f"{where}: {found}; expected {expected}." + (f" {do}" if do else ""))


class TrainingError(ITRError):
    """Training cannot go on: a loss that is not finite, or another process that trains the same run."""


def first_line(error: Exception) -> str:
    """The first line of another library's message; how the error prints itself where it has none."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` for the closest known word, or nothing where none is close."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(where: str, name: str, known: Mapping[str, Any], section: str) -> Iterator[str]:
    """Yield a problem where `name` is not among the `known` ones of a section, with the nearest of them."""
    if name not in known:
        yield f"{where}: no {name!r} in {section}{nearest(name, list(known))} (known: {', '.join(known) or 'none'})"
