"""The text side of a run: its tokeniser and what its encoder is built from.

A training prepares it from the data set's vocabulary and from pretrained weights; a finished run's folder holds all of it
(`text/`), so that a run can be evaluated whatever becomes of the data set's vocabulary or of a model hub. Each kind of text
encoder has a module for it (`itrcore/models/parts.py`) with two functions:

    prepare(model, vocabulary, nltk_folder) -> Text   # for a new run; vocabulary: the data set's folder of it
    restore(model, folder, nltk_folder) -> Text       # of a finished run, from its text folder
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from itrcore.data.glove import WordVectors
from itrcore.data.tokens import TokenIds, Tokeniser

if TYPE_CHECKING:
    from transformers import BertModel, CLIPModel


@dataclass(frozen=True)
class TextInputs:
    """What a text encoder is built from.

    vectors: what word embeddings start from, one row per word of the vocabulary
    bert, clip: makes the BERT or the CLIP, with its pretrained weights where it has some
    """

    ids: TokenIds
    vectors: WordVectors | None = None
    bert: Callable[[], BertModel] | None = None
    clip: Callable[[], CLIPModel] | None = None


class Text(Protocol):
    """The text side of a run."""

    @property
    def tokeniser(self) -> Tokeniser:
        """From captions to ids."""

    @property
    def inputs(self) -> TextInputs:
        """What the encoder is built from."""

    @property
    def digest(self) -> str:
        """Of everything that it brings: ids and pretrained weights."""

    def save(self, folder: Path) -> None:
        """Write what `restore` reads into a folder."""
