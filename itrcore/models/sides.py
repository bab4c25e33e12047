"""Both sides of a run, prepared for a training and restored from a finished run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore import layout
from itrcore.models import parts
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
    image = parts.load(parts.image_side(model)).prepare(model, width)
    return Sides(image, parts.load(parts.TEXTS[model.text.kind]).prepare(model, vocabulary, nltk_folder))


def restore(model: ModelSettings, run: Path, nltk_folder: Path, width: int | None) -> Sides:
    """Of a finished run, from its folder. Pretrained weights are among its own. width: as run.json has it"""
    image = parts.load(parts.image_side(model)).restore(model, run / layout.IMAGE, width)
    return Sides(image, parts.load(parts.TEXTS[model.text.kind]).restore(model, run / layout.TEXT, nltk_folder))
