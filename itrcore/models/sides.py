"""Both sides of a run, prepared for a training and restored from a finished run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore import layout
from itrcore.models import clip_text, image, text
from itrcore.models.encoder_settings import BertSettings, BiGRUSettings
from itrcore.models.image import ImageSide
from itrcore.models.settings import ModelSettings
from itrcore.models.text import Text


@dataclass(frozen=True)
class Sides:
    """What a method is built from, beside its settings."""

    image: ImageSide
    text: Text

    def save(self, run: Path) -> None:
        """Write what `restore` reads into a run's folder: text/, and image/ where the image side needs it."""
        self.image.save(run / layout.IMAGE)
        (run / layout.TEXT).mkdir(parents=True)
        self.text.save(run / layout.TEXT)


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path, width: int | None) -> Sides:
    """For a new run.

    vocabulary: the data set's folder of it; width: of the data set's region features, where it has some
    """
    settings = model.text
    if isinstance(settings, BiGRUSettings | BertSettings):
        return Sides(image.prepare(model, width), text.prepare(settings, vocabulary, nltk_folder))
    return Sides(image.prepare(model, width), clip_text.prepare(settings, vocabulary, model.dim))


def restore(model: ModelSettings, run: Path, nltk_folder: Path, width: int | None) -> Sides:
    """Of a finished run, from its folder. Pretrained weights are among its own. width: as run.json has it"""
    settings, folder = model.text, run / layout.TEXT
    side = image.restore(model, run / layout.IMAGE, width)
    if isinstance(settings, BiGRUSettings | BertSettings):
        return Sides(side, text.restore(settings, folder, nltk_folder))
    return Sides(side, clip_text.restore(settings, folder))
