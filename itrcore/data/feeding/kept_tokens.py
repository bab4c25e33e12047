"""The tokens of captions, kept in a file: to split COCO's 566,435 captions into words takes a minute, to read their ids a second.

A file holds the tokens of one split by one kind of tokeniser, with a digest of what decides them: the captions, the tokeniser, the
code and libraries that tokenise. Others take the place of those in the file. The file may be removed at any time.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itrcore import code
from itrcore.announce import announced
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.tokens import Tokenised, Tokeniser
from itrcore.files import digest, replacing
from itrcore.terminal import warn

_TOKENISERS = "itrcore.data.text."
_LIBRARIES = ("nltk", "tokenizers")
_DIGESTS = "digests"
_PART = 1024  # captions between two counts


def tokens_of(captions: Sequence[str], tokeniser: Tokeniser, kept: Path | None = None) -> TokenTable:
    """The tokens of each caption in turn. kept: the file to take them from, or to keep them in; None: neither

    A file that is damaged, or cannot be written, is a warning.
    """
    decided = "" if kept is None else _decided(captions, tokeniser)
    if kept is not None and (table := _read(kept, decided)) is not None:
        return table
    with announced(f"Splitting {len(captions):,} captions into tokens") as count:

        def tokenised() -> Iterator[Tokenised]:
            for number, caption in enumerate(captions):
                if not number % _PART:
                    count(number, len(captions))
                yield tokeniser.encode(caption)

        table = TokenTable.of(tokenised())
    if kept is not None:
        _write(kept, decided, table)
    return table


def _decided(captions: Sequence[str], tokeniser: Tokeniser) -> str:
    modules = {type(tokeniser).__module__, *(name for name in code.modules() if name.startswith(_TOKENISERS))}
    libraries = {library: version(library) for library in _LIBRARIES}
    return digest([captions, tokeniser.kind, tokeniser.decides, code.of(*modules), libraries, sys.version_info[:2]])


def _read(path: Path, decided: str) -> TokenTable | None:
    """What `_write` wrote; None where there is no such file, it holds other tokens, or it is damaged."""
    try:
        with safe_open(path, "numpy") as file:
            of, _, content = (file.metadata() or {}).get(_DIGESTS, "").partition(" ")
            table = TokenTable(*(file.get_tensor(name) for name in ("ids", "words", "starts")))
        if content != _content(table, of):
            raise ValueError("its bytes have changed")
        return table if of == decided else None
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        warn(f"{path}: damaged ({error}), and not used: its captions are split again")
        return None


def _write(path: Path, decided: str, table: TokenTable) -> None:
    try:
        with replacing(path) as temporary:
            tensors = {"ids": table.ids, "words": table.words, "starts": table.starts}
            # One entry: safetensors writes several in the order of a hash map, another one each time.
            save_file(tensors, temporary, {_DIGESTS: f"{decided} {_content(table, decided)}"})
    except OSError as error:
        warn(f"{path}: cannot be written ({error.strerror}); the next one splits these captions again")


def _content(table: TokenTable, decided: str) -> str:
    """SHA-256 of all that a file holds."""
    content = hashlib.sha256(decided.encode())
    for array in (table.ids, table.words, table.starts):
        content.update(f"{array.dtype}{array.shape}".encode())
        content.update(array.data)
    return content.hexdigest()
