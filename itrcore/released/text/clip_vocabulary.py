"""CLIP's vocabulary as OpenAI's code reads it: a list of byte pairs, from which the tokens and their order follow."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from itrcore import limits
from itrcore.data.text.clip_tokens import END, START, CLIPTokens
from itrcore.errors import DataError, first_line
from itrcore.unpacking import gunzipped, lines

NAME = "bpe_simple_vocab_16e6.txt.gz"

_MERGES = 49152 - 256 - 2  # pairs that count; the file holds more
_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]


def read(path: Path) -> CLIPTokens:
    """Read OpenAI's list, or a file whose name ends in .json as a tokenizer.json. `DataError` where it is neither."""
    if path.suffix == ".json":
        return CLIPTokens.read(path)
    # A byte is written as the letter of its number if that is printable, all others as letters from 256 on.
    letters = [chr(byte) for byte in _PRINTABLE] + [chr(256 + number) for number in range(256 - len(_PRINTABLE))]
    try:
        with gunzipped(path, limits.TEXT) as text:
            merges = [
                _pair(line.decode()) for line in islice(lines(text), 1, _MERGES + 1)
            ]  # the first line is a version
        if not merges:
            raise ValueError("it is empty")
        tokens = [*letters, *(letter + "</w>" for letter in letters), *(first + second for first, second in merges)]
        return CLIPTokens([*tokens, START, END], merges)
    except Exception as error:  # gzip and tokenizers each have errors of their own
        raise DataError.at(
            path, f"no byte pairs of CLIP ({first_line(error)})", f"OpenAI's {NAME}, or a tokenizer.json"
        ) from error


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second
