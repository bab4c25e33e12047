"""Errors meant for users: what was wrong, where, what was expected, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Control characters and those that turn the direction of writing: a terminal obeys them. Lone surrogates cannot be written.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SECRETS = [
    (re.compile(pattern, re.I), kept)
    for pattern, kept in (
        # user:password@ of an address. A password may have @ and /; a port is no password.
        (r"(?<=://)[^\s/?#]*@", ""),
        (r"(?<=://)[^\s/?#@:]+:(?!\d{1,5}[/?#])[^\s@]{0,200}@", ""),
        (r"(?<=%3a%2f%2f)(?:(?!%2f)[^\s&/])*%40", ""),
        # What addresses call the tokens of services, in a query or behind #; also inside another address.
        (
            r"((?:[?&#;]|%3f|%26)[\w.-]*(?:token|key|secret|signature|passw|pwd|credential|auth|(?<![a-z])sig(?![a-z])|sas|session|jwt)"
            r"[\w.-]*(?:=|%3d))(?:(?!%26)[^&\s#'\"<>])+",
            r"\1…",
        ),
        # Headers, and settings of databases.
        (r"(authorization['\"]?\s*[:=]\s*['\"]?(?:(?:basic|bearer|token)\s+)?)[^\s'\",]+", r"\1…"),
        (r"\b(bearer\s+)[\w+/=.~-]{6,}", r"\1…"),
        (
            r"\b((?:x-[\w-]{0,40}(?:key|token)|(?:set-)?cookie|(?:\w{0,20}_)?(?:api[_-]?|access[_-]?|secret[_-]?|kaggle[_-]?)(?:key|token)"
            r"|passw(?:or)?d|passwd|pwd)['\"]?\s*[:=]\s*['\"]?)[^\s'\",;&]+",
            r"\1…",
        ),
        # Tokens that are told by their beginning: of model hubs, of Kaggle, of code hosts, of clouds.
        (r"\b(hf_|gh[pousr]_|github_pat_|glpat-|kgat_|akia)[\w-]{12,}", r"\1…"),
    )
]
_LINE = 4000  # characters of a line of a message
_LINES = 200  # of a message


def shown(text: str) -> str:
    """A text from outside as it may be shown: without passwords and tokens of addresses, and with `\\x1b` for an escape.

    Ends of lines stay.
    """
    for secret, kept in _SECRETS:
        text = secret.sub(kept, text)
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _short(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 300]} … {line[-300:]}"


class ITRError(Exception):
    """Base of all errors that a user can cause and mend; commands print them without a traceback.

    The message goes through `shown`: it often quotes what a file or a server says. Very long lines lose their
    middle, very many their end.
    """

    def __init__(self, message: str) -> None:
        lines = [_short(line) for line in shown(message).split("\n")]
        more = [f"… and {len(lines) - _LINES:,} lines more"] if len(lines) > _LINES else []
        super().__init__("\n".join(lines[:_LINES] + more))
        self.parts: dict[str, str | int | None] = {}  # where, row, found, expected, do; where it says them apart


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
        error = cls(f"{where}: {found}; expected {expected}." + (f" {do}" if do else ""))
        said = {"where": str(path), "found": found, "expected": expected, "do": do}
        error.parts = {**{key: shown(value) or None for key, value in said.items()}, "row": row}
        return error

    @classmethod
    def damaged(cls, path: Path | str, found: str = "its bytes have changed") -> DataError:
        """A file that the pipeline made is not as it was written. DVC's cache may hold the damage too, and would restore it."""
        return cls.at(
            path, f"this file is damaged: {found}", "it as it was written", do="Run: itr heal, then: dvc repro"
        )


class TrainingError(ITRError):
    """Training cannot go on: a loss that is not finite, another process that trains the same run, days on a CPU unasked for."""


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
