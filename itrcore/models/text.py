"""The text side of a run: its tokeniser and what its encoder is built from.

A training prepares it from the data set's vocabulary and from pretrained weights; a finished run's folder holds all of it
(`text/`), so that a run can be evaluated whatever becomes of the data set's vocabulary or of a model hub.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from itrcore import hub, layout
from itrcore.data.glove import WordVectors
from itrcore.data.tokens import TokenIds, Tokeniser
from itrcore.data.vocabulary import Vocabulary
from itrcore.data.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import digest
from itrcore.models import bert, published
from itrcore.models.encoder_settings import BertSettings, BiGRUSettings

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel, CLIPModel

_TOKENISER, _CONFIG = "tokenizer.json", "bert.json"


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


class Words:
    """Words of a vocabulary, for BiGRU."""

    def __init__(self, vocabulary: Vocabulary, vectors: WordVectors | None = None) -> None:
        self.tokeniser, self.vectors = vocabulary, vectors

    @property
    def inputs(self) -> TextInputs:
        """The embedding's rows and, with GloVe, what they start from."""
        return TextInputs(self.tokeniser.token_ids, self.vectors)

    @property
    def digest(self) -> str:
        """Of the words, how captions are split, and the vectors."""
        vectors = self.vectors.sha256 if self.vectors else None
        return digest([self.tokeniser.words, self.tokeniser.tokenizer.description, vectors])

    def save(self, folder: Path) -> None:
        """The vocabulary; vectors have gone into the weights."""
        self.tokeniser.save(folder / layout.WORDS)


class Pieces:
    """Word pieces, for BERT."""

    def __init__(self, pieces: WordPieces, config: BertConfig, pretrained: BertModel | None = None) -> None:
        """`DataError` where the BERT has fewer embeddings than there are pieces."""
        if len(pieces) > config.vocab_size:
            raise DataError(
                f"the tokeniser has {len(pieces)} word pieces, the BERT {config.vocab_size} embeddings; both must be of "
                "one and the same BERT"
            )
        self.tokeniser, self.config = pieces.limited(config.max_position_embeddings), config
        self._pretrained = pretrained

    @property
    def inputs(self) -> TextInputs:
        """The pretrained BERT, or one drawn at random."""
        model = self._pretrained
        return TextInputs(
            self.tokeniser.token_ids,
            bert=partial(bert.configured, self.config) if model is None else partial(copy.deepcopy, model),
        )

    @property
    def digest(self) -> str:
        """Of the pieces, the configuration and the pretrained weights."""
        weights = published.weights_digest(self._pretrained) if self._pretrained else None
        return digest([self.tokeniser.digest, published.described(self.config), weights])

    def save(self, folder: Path) -> None:
        """Tokeniser and configuration."""
        self.tokeniser.save(folder / _TOKENISER)
        published.save_config(self.config, folder / _CONFIG)


def prepare(settings: BiGRUSettings | BertSettings, vocabulary: Path, nltk_folder: Path) -> Text:
    """The text side of a new run.

    vocabulary: the data set's folder with vocab.json and, where asked for, word pieces and GloVe vectors
    """
    if isinstance(settings, BiGRUSettings):
        words = Vocabulary.load(vocabulary / layout.WORDS, nltk_folder)
        return Words(
            words, _vectors(vocabulary / layout.VECTORS, words, settings) if settings.init == "glove" else None
        )
    if settings.shape is not None:
        pieces = own_pieces(vocabulary)
        return Pieces(pieces, bert.config_of(settings.shape, len(pieces)))
    hub.check_folder(settings.weights, "a BERT's", "text.weights")
    pieces = WordPieces.pretrained(settings.weights, settings.revision)
    model = bert.pretrained(settings.weights, settings.revision)
    return Pieces(pieces, model.config, model)


def restore(settings: BiGRUSettings | BertSettings, folder: Path, nltk_folder: Path) -> Text:
    """The text side of a finished run, from its text folder. Pretrained weights are in the run's own."""
    if isinstance(settings, BiGRUSettings):
        return Words(Vocabulary.load(folder / layout.WORDS, nltk_folder))
    return Pieces(WordPieces.read(folder / _TOKENISER), bert.read_config(folder / _CONFIG))


def own_pieces(vocabulary: Path) -> WordPieces:
    """The data set's word pieces. `DataError` where it has none."""
    path = vocabulary / layout.PIECES
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            "word pieces for a text encoder that starts at random",
            do="Set vocabulary.word_pieces of the data set, then: dvc repro",
        )
    return WordPieces.read(path)


def _vectors(path: Path, words: Vocabulary, settings: BiGRUSettings) -> WordVectors:
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            "GloVe vectors, as text.init is glove",
            do="Set vocabulary.glove of the data set to a GloVe text file, then: dvc repro. Or set text.init: random.",
        )
    vectors = WordVectors.load(path)
    if vectors.vectors.shape != (len(words), settings.word_dim):
        raise DataError.at(
            path,
            f"vectors of shape {vectors.vectors.shape}",
            f"({len(words)}, {settings.word_dim}): the vocabulary's words × text.word_dim",
        )
    return vectors
