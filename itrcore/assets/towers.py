"""The text side of a run with a published dual encoder: its tokeniser, and all that its two towers are built from."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itrcore.assets.text import UntrainedText
from itrcore.data.image_inputs import PixelInput
from itrcore.data.text.published_tokens import PublishedTokens
from itrcore.fetch import hub
from itrcore.files import digest
from itrcore.pretrained import processors, towers, weights
from itrcore.settings.encoders import TowersSettings

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_CONFIG, _PICTURES = "config.json", "pictures.json"


@dataclass(frozen=True)
class TowersSource:
    """What both towers are built from.

    settings: `model.text`; config: the towers'; pictures: how they are read; pretrained: None: weights are drawn at random
    """

    settings: TowersSettings
    config: PreTrainedConfig
    pictures: PixelInput
    pretrained: PreTrainedModel | None = None

    @property
    def kind(self) -> towers.Kind:
        """What its kind of towers differs in."""
        return towers.KINDS[self.config.model_type]

    def model(self) -> Any:
        """A copy of the pretrained towers, or some drawn at random."""
        return towers.configured(self.config) if self.pretrained is None else copy.deepcopy(self.pretrained)


class TowersText:
    """A published dual encoder's own tokens."""

    def __init__(self, source: TowersSource, tokeniser: PublishedTokens) -> None:
        self.source, self.tokeniser = source, tokeniser

    @property
    def digest(self) -> str:
        """Of the tokens, how pictures are read, the configuration and the pretrained weights."""
        of_weights = weights.weights_digest(self.source.pretrained)
        source = self.source
        return digest([self.tokeniser.decides, asdict(source.pictures), weights.described(source.config), of_weights])

    def save(self, folder: Path) -> None:
        """Tokeniser, configuration, and how pictures are read."""
        self.tokeniser.save(folder)
        weights.save_config(self.source.config, folder / _CONFIG)
        processors.save(self.source.pictures, folder / _PICTURES)


def prepare(settings: TowersSettings, dim: int, vocabulary: Path, nltk_folder: Path) -> TowersText:
    """For a new run."""
    name, revision = settings.weights, settings.revision
    hub.check_folder(name, "a dual encoder's", "text.weights")
    model = towers.pretrained(name, revision)
    source = TowersSource(settings, model.config, processors.pixel_input(name, revision), model)
    return TowersText(source, PublishedTokens.pretrained(name, revision, **_asked(source)))


def restore(settings: TowersSettings, folder: Path) -> TowersText:
    """Of a finished run, whose weights are in model.safetensors."""
    source = TowersSource(settings, towers.read_config(folder / _CONFIG), processors.read(folder / _PICTURES))
    return TowersText(source, PublishedTokens.read(folder, **_asked(source)))


def untrained(settings: TowersSettings, dim: int, n_tokens: int) -> UntrainedText:
    """For measuring: of the published sizes, or what the name tells of them."""
    config: Any = towers.known_config(settings.weights, settings.revision)
    picture = config.vision_config.image_size
    pictures = PixelInput(picture, "short", (0.5,) * 3, (0.5,) * 3, 255.0, bgr=False, random_crop=None, flip=False)
    source = TowersSource(settings, config, pictures)
    text = config.text_config
    return UntrainedText(source, text.vocab_size, text.max_position_embeddings, source.kind.filled)


def _asked(source: TowersSource) -> dict[str, Any]:
    text: Any = source.config.text_config
    return {"limit": text.max_position_embeddings, "filled": source.kind.filled, "lower": source.kind.lower}
