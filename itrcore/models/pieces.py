"""The text side of a run with BERT: its word pieces, its configuration and, for a new run, its pretrained weights."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from itrcore import hub, layout
from itrcore.data.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import digest
from itrcore.models import bert, published
from itrcore.models.encoder_settings import BertSettings
from itrcore.models.settings import ModelSettings
from itrcore.models.text import TextInputs

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel

_TOKENISER, _CONFIG = "tokenizer.json", "bert.json"


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


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path) -> Pieces:
    """For a new run. vocabulary: the data set's folder, with word pieces for a BERT that starts at random"""
    settings = model.text
    assert isinstance(settings, BertSettings)
    if settings.shape is not None:
        pieces = own_pieces(vocabulary)
        return Pieces(pieces, bert.config_of(settings.shape, len(pieces)))
    hub.check_folder(settings.weights, "a BERT's", "text.weights")
    pieces = WordPieces.pretrained(settings.weights, settings.revision)
    pretrained = bert.pretrained(settings.weights, settings.revision)
    return Pieces(pieces, pretrained.config, pretrained)


def restore(model: ModelSettings, folder: Path, nltk_folder: Path) -> Pieces:
    """Of a finished run. Pretrained weights are in the run's own."""
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
