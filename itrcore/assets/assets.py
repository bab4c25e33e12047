"""Both sides of a run, prepared for a training and restored from a finished run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore import layout, registry
from itrcore.assets.image import ImageSide
from itrcore.assets.text import TextSide, UntrainedText
from itrcore.settings.encoders import GridSettings
from itrcore.settings.methods import ModelSettings, SetSettings


@dataclass(frozen=True)
class Assets:
    """What a method is built from, beside its settings."""

    image: ImageSide
    text: TextSide

    def save(self, run: Path) -> None:
        """Write what `restore` reads into a run's folder: text/, and image/ where the image side needs it."""
        self.image.save(run / layout.IMAGE)
        (run / layout.TEXT).mkdir(parents=True)
        self.text.save(run / layout.TEXT)


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path, width: int | None) -> Assets:
    """For a new run.

    vocabulary: the data set's vocabulary folder; width: of the data set's region features, None where it has none
    `DataError` where the data set lacks what the method reads, or pretrained weights cannot be had.
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).prepare(_grid(model), width)
    text = registry.load(registry.TEXT_SIDES[model.text.kind])
    return Assets(image, text.prepare(model.text, model.dim, vocabulary, nltk_folder))


def restore(model: ModelSettings, run: Path, nltk_folder: Path, width: int | None) -> Assets:
    """Of a finished run, from its folder; its weights are in model.safetensors. width: of region features, from run.json

    `DataError` where a file is missing or damaged.
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).restore(_grid(model), run / layout.IMAGE, width)
    text = registry.load(registry.TEXT_SIDES[model.text.kind])
    return Assets(image, text.restore(model.text, run / layout.TEXT, nltk_folder))


def untrained(model: ModelSettings, width: int, n_tokens: int) -> tuple[ImageSide, UntrainedText]:
    """Both sides as a run of these settings has them, drawn at random: for measuring. `DataError` where a package is missing.

    width: of region features; n_tokens: of a vocabulary, or of word pieces made from the data set
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).untrained(_grid(model), width)
    return image, registry.load(registry.TEXT_SIDES[model.text.kind]).untrained(model.text, model.dim, n_tokens)


def _grid(model: ModelSettings) -> GridSettings | None:
    return model.grid if isinstance(model, SetSettings) else None
