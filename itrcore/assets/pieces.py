"""The text side of a run with BERT: its word pieces, its configuration and, for a new run, its pretrained weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from itrcore.assets.own_pieces import own_pieces
from itrcore.assets.text import UntrainedText
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.fetch import hub
from itrcore.files import digest
from itrcore.layers.text_encoders import BertEncoder
from itrcore.pretrained import bert, weights
from itrcore.settings.encoders import BertSettings

if TYPE_CHECKING:
    from transformers import BertConfig, BertModel

_TOKENISER, _CONFIG = "tokenizer.json", "bert.json"


@dataclass(frozen=True)
class BertSource:
    """What a BERT encoder is built from. settings: the encoder's; config, pretrained: the BERT's; None: it starts at random"""

    settings: BertSettings
    config: BertConfig
    pretrained: BertModel | None = None

    def encoder(self, dim: int) -> BertEncoder:
        """An encoder to `dim` dimensions, on a copy of the pretrained BERT or on one drawn at random."""
        model = bert.configured(self.config) if self.pretrained is None else copy.deepcopy(self.pretrained)
        return BertEncoder(model, dim, self.settings)


class Pieces:
    """Word pieces, for BERT."""

    def __init__(
        self, settings: BertSettings, pieces: WordPieces, config: BertConfig, pretrained: BertModel | None = None
    ) -> None:
        """`DataError` where the BERT has fewer embeddings than there are pieces."""
        if len(pieces) > config.vocab_size:
            raise DataError(
                f"the tokeniser has {len(pieces)} word pieces, but the BERT has {config.vocab_size} embeddings; both must "
                "come from the same BERT"
            )
        self.tokeniser = pieces.limited(config.max_position_embeddings)
        self.config = config
        self.source = BertSource(settings, config, pretrained)

    @property
    def digest(self) -> str:
        """Of the pieces, the configuration and the pretrained weights."""
        of_weights = weights.weights_digest(self.source.pretrained)
        return digest([self.tokeniser.digest, weights.described(self.config), of_weights])

    def save(self, folder: Path) -> None:
        """Tokeniser and configuration."""
        self.tokeniser.save(folder / _TOKENISER)
        weights.save_config(self.config, folder / _CONFIG)


def prepare(settings: BertSettings, dim: int, vocabulary: Path, nltk_folder: Path) -> Pieces:
    """For a new run. vocabulary: the data set's folder, with word pieces for a BERT that starts at random"""
    if settings.shape is not None:
        pieces = own_pieces(vocabulary)
        return Pieces(settings, pieces, bert.config_of(settings.shape, len(pieces)))
    hub.check_folder(settings.weights, "a BERT's", "text.weights")
    pieces = WordPieces.pretrained(settings.weights, settings.revision)
    pretrained = bert.pretrained(settings.weights, settings.revision)
    return Pieces(settings, pieces, pretrained.config, pretrained)


def untrained(settings: BertSettings, dim: int, n_tokens: int) -> UntrainedText:
    """For measuring. n_tokens: word pieces of a BERT that starts at random; another one has its own"""
    if settings.shape is not None:
        config = bert.config_of(settings.shape, n_tokens)
    else:
        config = bert.known_config(settings.weights, settings.revision)
    return UntrainedText(BertSource(settings, config), config.vocab_size, config.max_position_embeddings)


def restore(settings: BertSettings, folder: Path) -> Pieces:
    """Of a finished run, whose weights are in model.safetensors."""
    return Pieces(settings, WordPieces.read(folder / _TOKENISER), bert.read_config(folder / _CONFIG))
