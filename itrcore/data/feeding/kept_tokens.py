"""The tokens of captions, kept in a file: to split COCO's 566,435 captions into words takes a minute, to read their ids a second.

A file holds the tokens of one split by one kind of tokeniser, with a digest of what decides them: the captions, the tokeniser, the
code and libraries that tokenise. Others take the place of those in the file. The file may be removed at any time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from itrcore import code
from itrcore.announce import announced
from itrcore.data.feeding import kept as kept_arrays
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.tokens import Tokenised, Tokeniser
from itrcore.files import digest

_TOKENISERS = "itrcore.data.text."
_LIBRARIES = ("nltk", "tokenizers")
_ARRAYS = ("ids", "words", "starts")
_PART = 1024  # captions between two counts


def tokens_of(captions: Sequence[str], tokeniser: Tokeniser, kept: Path | None = None) -> TokenTable:
    """The tokens of each caption in turn. kept: the file to take them from, or to keep them in; None: neither

    A file that is damaged, or cannot be written, is a warning.
    """
    decided = "" if kept is None else _decided(captions, tokeniser)
    if kept is not None and (arrays := kept_arrays.read(kept, decided, "its captions are split again")) is not None:
        ids, words, starts = (arrays[name].numpy() for name in _ARRAYS)
        return TokenTable(ids, words, starts)
    with announced(f"Splitting {len(captions):,} captions into tokens") as count:

        def tokenised() -> Iterator[Tokenised]:
            for number, caption in enumerate(captions):
                if not number % _PART:
                    count(number, len(captions))
                yield tokeniser.encode(caption)

        table = TokenTable.of(tokenised())
    if kept is not None:
        arrays = {name: torch.from_numpy(getattr(table, name)) for name in _ARRAYS}
        kept_arrays.write(kept, decided, arrays, "the next one splits these captions again")
    return table


def _decided(captions: Sequence[str], tokeniser: Tokeniser) -> str:
    modules = {type(tokeniser).__module__, *(name for name in code.modules() if name.startswith(_TOKENISERS))}
    libraries = {library: version(library) for library in _LIBRARIES}
    return digest([captions, tokeniser.kind, tokeniser.decides, code.of(*modules), libraries, sys.version_info[:2]])
