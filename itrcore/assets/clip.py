"""The text side of a run with CLIP: the tokeniser, and the configuration and pretrained weights of both towers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore.assets.own_pieces import own_pieces
from itrcore.assets.text import UntrainedText
from itrcore.data.text.clip_tokens import CLIPTokens, Stripped
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.fetch import hub
from itrcore.files import digest
from itrcore.pretrained import clip, weights
from itrcore.settings.encoders import CLIPSettings

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

_TOKENISER, _CONFIG = "tokenizer.json", "clip.json"


@dataclass(frozen=True)
class CLIPSource:
    """What both towers are built from. settings: `model.text`; config, pretrained: the CLIP's; None: it starts at random"""

    settings: CLIPSettings
    config: CLIPConfig
    pretrained: CLIPModel | None = None

    def model(self) -> CLIPModel:
        """A copy of the pretrained CLIP, or one drawn at random."""
        return clip.configured(self.config) if self.pretrained is None else copy.deepcopy(self.pretrained)


class CLIPText:
    """A published CLIP's own tokens, or the data set's word pieces for a CLIP that starts at random."""

    def __init__(
        self,
        settings: CLIPSettings,
        tokens: CLIPTokens | WordPieces,
        config: CLIPConfig,
        pretrained: CLIPModel | None = None,
    ) -> None:
        """`DataError` where the CLIP has fewer embeddings than tokens."""
        tower: Any = config.text_config
        if len(tokens) > tower.vocab_size:
            raise DataError(
                f"the tokeniser has {len(tokens)} tokens, but the CLIP has {tower.vocab_size} embeddings; both must come "
                "from the same CLIP"
            )
        self._tokens, self.config = tokens, config
        self.source = CLIPSource(settings, config, pretrained)
        self.tokeniser = Stripped(tokens.limited(tower.max_position_embeddings), settings.strip)

    @property
    def digest(self) -> str:
        """Of the tokens, what is stripped, the configuration and the pretrained weights."""
        of_weights = weights.weights_digest(self.source.pretrained)
        return digest([self._tokens.digest, self.tokeniser.strip, weights.described(self.config), of_weights])

    def save(self, folder: Path) -> None:
        """Tokeniser and configuration."""
        self._tokens.save(folder / _TOKENISER)
        weights.save_config(self.config, folder / _CONFIG)


def prepare(settings: CLIPSettings, dim: int, vocabulary: Path, nltk_folder: Path) -> CLIPText:
    """For a new run. vocabulary: the data set's folder, with word pieces for a CLIP that starts at random"""
    if settings.shape is not None:
        pieces = own_pieces(vocabulary)
        return CLIPText(settings, pieces, clip.config_of(settings.shape, len(pieces), dim))
    hub.check_folder(settings.weights, "a CLIP's", "text.weights")
    tokens = CLIPTokens.pretrained(settings.weights, settings.revision)
    pretrained = clip.pretrained(settings.weights, settings.revision)
    return CLIPText(settings, tokens, pretrained.config, pretrained)


def untrained(settings: CLIPSettings, dim: int, n_tokens: int) -> UntrainedText:
    """For measuring. n_tokens: word pieces of a CLIP that starts at random; another one has its own"""
    if settings.shape is not None:
        config = clip.config_of(settings.shape, n_tokens, dim)
    else:
        config = clip.known_config(settings.weights, settings.revision)
    tower: Any = config.text_config
    return UntrainedText(CLIPSource(settings, config), tower.vocab_size, tower.max_position_embeddings)


def restore(settings: CLIPSettings, folder: Path) -> CLIPText:
    """Of a finished run, whose weights are in model.safetensors."""
    read = CLIPTokens.read if settings.shape is None else WordPieces.read
    return CLIPText(settings, read(folder / _TOKENISER), clip.read_config(folder / _CONFIG))
