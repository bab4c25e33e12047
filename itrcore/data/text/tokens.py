"""What a caption is after tokenising, and which ids a tokeniser gives: the same for words and for word pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

PAD = 0  # the id of what fills captions up, in every vocabulary


class Tokenised(NamedTuple):
    """A caption as tokens, its special tokens included.

    ids: the token ids
    words: the number of the word, from 0, that each token is a piece of; -1 for special tokens such as [CLS]
    """

    ids: list[int]
    words: list[int]


@dataclass(frozen=True)
class TokenIds:
    """The ids a tokeniser gives.

    size: ids run from 0 to size − 1, the mask token's included; an embedding has this many rows
    mask: the mask token's id
    replacements: (n,) ids that a touched word's pieces may be replaced by; no special tokens
    """

    size: int
    mask: int
    replacements: np.ndarray


class Tokeniser(Protocol):
    """What batches need of a tokeniser: `Vocabulary` (words, for BiGRU), `WordPieces` (BERT) and `CLIPTokens` are three."""

    kind: str  # a short name, of files

    @property
    def token_ids(self) -> TokenIds:
        """Which ids `encode` and the token views give."""

    @property
    def decides(self) -> list[Any]:
        """What decides the ids of a caption, beside code: a JSON value."""

    def encode(self, caption: str) -> Tokenised:
        """The caption's tokens between the special ones that mark its start and its end."""

    def token_texts(self, caption: str) -> list[str]:
        """The text of each token of `encode`, for showing; the pieces of a word, joined, are the word."""
