"""The text side of a run with CLIP, which brings both of its towers: the text tower's tokeniser, the CLIP's configuration."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore import hub
from itrcore.data.clip_tokens import CLIPTokens, Stripped
from itrcore.data.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.files import digest
from itrcore.models import clip, published
from itrcore.models.encoder_settings import CLIPSettings
from itrcore.models.pieces import own_pieces
from itrcore.models.settings import ModelSettings
from itrcore.models.text import TextInputs

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

_TOKENISER, _CONFIG = "tokenizer.json", "clip.json"


class ClipText:
    """A published CLIP's own tokens, or the data set's word pieces for a CLIP that starts at random."""

    def __init__(
        self, tokens: CLIPTokens | WordPieces, strip: str, config: CLIPConfig, pretrained: CLIPModel | None = None
    ) -> None:
        """strip: characters taken off both ends of a caption. `DataError` where the CLIP has fewer embeddings than tokens."""
        tower: Any = config.text_config
        if len(tokens) > tower.vocab_size:
            raise DataError(
                f"the tokeniser has {len(tokens)} tokens, the CLIP {tower.vocab_size} embeddings; both must be of one and "
                "the same CLIP"
            )
        self._tokens, self.config, self._pretrained = tokens, config, pretrained
        self.tokeniser = Stripped(tokens.limited(tower.max_position_embeddings), strip)

    @property
    def inputs(self) -> TextInputs:
        """The pretrained CLIP, or one drawn at random."""
        model = self._pretrained
        made = partial(clip.configured, self.config) if model is None else partial(copy.deepcopy, model)
        return TextInputs(self.tokeniser.token_ids, clip=made)

    @property
    def digest(self) -> str:
        """Of the tokens, what is stripped, the configuration and the pretrained weights."""
        weights = published.weights_digest(self._pretrained) if self._pretrained else None
        return digest([self._tokens.digest, self.tokeniser.strip, published.described(self.config), weights])

    def save(self, folder: Path) -> None:
        """Tokeniser and configuration."""
        self._tokens.save(folder / _TOKENISER)
        published.save_config(self.config, folder / _CONFIG)


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path) -> ClipText:
    """For a new run. vocabulary: the data set's folder, with word pieces for a CLIP that starts at random"""
    settings = model.text
    assert isinstance(settings, CLIPSettings)
    if settings.shape is not None:
        pieces = own_pieces(vocabulary)
        return ClipText(pieces, settings.strip, clip.config_of(settings.shape, len(pieces), model.dim))
    hub.check_folder(settings.weights, "a CLIP's", "text.weights")
    tokens = CLIPTokens.pretrained(settings.weights, settings.revision)
    pretrained = clip.pretrained(settings.weights, settings.revision)
    return ClipText(tokens, settings.strip, pretrained.config, pretrained)


def restore(model: ModelSettings, folder: Path, nltk_folder: Path) -> ClipText:
    """Of a finished run. Pretrained weights are in the run's own."""
    settings = model.text
    assert isinstance(settings, CLIPSettings)
    read = CLIPTokens.read if settings.shape is None else WordPieces.read
    return ClipText(read(folder / _TOKENISER), settings.strip, clip.read_config(folder / _CONFIG))
