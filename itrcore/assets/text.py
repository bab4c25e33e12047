"""The text side of a run: its tokeniser and what its encoder is built from.

A training prepares it from the data set's vocabulary and from pretrained weights. A finished run's folder holds all of it
(`text/`), so that the run can be evaluated without the data set's vocabulary or a model hub. Each kind of text encoder has a
module (`itrcore/registry.py`) with three functions:

    prepare(settings, dim, vocabulary, nltk_folder) -> TextSide   # for a new run; vocabulary: the data set's folder
    restore(settings, folder) -> TextSide                         # of a finished run, from its text folder
    untrained(settings, dim, n_tokens) -> UntrainedText           # for measuring: the same sizes, drawn at random, no data needed

`settings` are the encoder's own (`model.text`), `dim` is the model's. They raise `DataError` where something is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from itrcore.data.text.tokens import TokenIds, Tokeniser
from itrcore.layers.text_encoders import WordEncoder


class WordSource(Protocol):
    """What an encoder of a caption's words is built from: a `BiGRUSource` or a `BertSource`."""

    def encoder(self, dim: int) -> WordEncoder:
        """An encoder to `dim` dimensions; two calls give two encoders that share no weights."""


class TextSide(Protocol):
    """The text side of a run."""

    @property
    def tokeniser(self) -> Tokeniser:
        """From captions to ids."""

    @property
    def source(self) -> Any:
        """What the method is given: a `WordSource`, a `CLIPSource` or a `TowersSource`."""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that it brings: tokens and pretrained weights."""

    def save(self, folder: Path) -> None:
        """Write what `restore` reads into a folder."""


@dataclass(frozen=True)
class UntrainedText:
    """What a method needs of its text side to be timed.

    source: as `TextSide.source`; n_ids: ids run from 0 to n_ids − 1; longest: tokens that a caption may have, None: any number
    filled: whether every caption is filled up to `longest`
    """

    source: Any
    n_ids: int
    longest: int | None = None
    filled: bool = False

    def lengths(self, counts: Sequence[int]) -> Sequence[int]:
        """How many captions have 0, 1, 2, … tokens, of `counts` before they are cut or filled up; the few cut ones are left out."""
        if self.longest is None:
            return counts
        return [0] * self.longest + [1] if self.filled else counts[: self.longest + 1]

    @property
    def token_ids(self) -> TokenIds:
        """Which ids captions of random tokens have."""
        return TokenIds(self.n_ids, self.n_ids - 1, np.arange(4, self.n_ids - 1))
