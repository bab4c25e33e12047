"""Both sides of a run, prepared for a training and restored from a finished run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itrcore import layout, registry
from itrcore.assets import concepts as concept_side
from itrcore.assets.image import ImageSide
from itrcore.assets.text import TextSide, UntrainedText
from itrcore.data.concepts.concepts import Concepts
from itrcore.settings.encoders import GridSettings
from itrcore.settings.methods import ModelSettings, SetSettings


@dataclass(frozen=True)
class Assets:
    """What a method is built from, beside its settings. concepts: None for a method that does not read them"""

    image: ImageSide
    text: TextSide
    concepts: Concepts | None = None

    def save(self, run: Path) -> None:
        """Write what `restore` reads into a run's folder: text/, and image/ and concepts/ where the method needs them."""
        self.image.save(run / layout.IMAGE)
        (run / layout.TEXT).mkdir(parents=True)
        self.text.save(run / layout.TEXT)
        if self.concepts is not None:
            self.concepts.save(run / layout.CONCEPTS)


def prepare(model: ModelSettings, vocabulary: Path, nltk_folder: Path, width: int | None, concepts: Path) -> Assets:
    """For a new run.

    vocabulary: the data set's vocabulary folder; width: of the data set's region features, None where it has none
    concepts: the data set's folder of concepts, read where the method wants them
    `DataError` where the data set lacks what the method reads, or pretrained weights cannot be had.
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).prepare(_grid(model), width)
    text = registry.load(registry.TEXT_SIDES[model.text.kind])
    known = Concepts.load(concepts) if model.concepts else None
    return Assets(image, text.prepare(model.text, model.dim, vocabulary, nltk_folder), known)


def restore(model: ModelSettings, run: Path, width: int | None) -> Assets:
    """Of a finished run, from its folder; its weights are in model.safetensors. width: of region features, from run.json

    `DataError` where a file is missing or damaged.
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).restore(_grid(model), run / layout.IMAGE, width)
    text = registry.load(registry.TEXT_SIDES[model.text.kind])
    concepts = Concepts.load(run / layout.CONCEPTS) if model.concepts else None
    return Assets(image, text.restore(model.text, run / layout.TEXT), concepts)


def untrained(model: ModelSettings, width: int, n_tokens: int) -> tuple[ImageSide, UntrainedText, Concepts | None]:
    """What a run of these settings is built from, drawn at random: for measuring. `DataError` where a package is missing.

    width: of region features; n_tokens: of a vocabulary, or of word pieces made from the data set
    """
    image = registry.load(registry.IMAGE_SIDES[model.images]).untrained(_grid(model), width)
    text = registry.load(registry.TEXT_SIDES[model.text.kind]).untrained(model.text, model.dim, n_tokens)
    return image, text, concept_side.untrained() if model.concepts else None


def _grid(model: ModelSettings) -> GridSettings | None:
    return model.grid if isinstance(model, SetSettings) else None
