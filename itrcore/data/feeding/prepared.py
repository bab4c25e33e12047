"""Opening a prepared data set by its name: the shards and captions that the stages made."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout, registry
from itrcore.announce import announced
from itrcore.data import captions
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.shards.files import read_description
from itrcore.data.shards.regions import KIND
from itrcore.data.text.tokens import Tokeniser
from itrcore.errors import DataError
from itrcore.settings.datasets import PIXELS, SYNTHETIC


def open_split(data: str, split: str, tokeniser: Tokeniser, given: RegionInput | PixelInput) -> Split:
    """A split of a prepared data set, its images as a method reads them.

    What was verified and tokenised before is not again, unless it has changed. What takes long is said.
    `DataError` where a file of it is damaged, or where the data set has no images of this kind.
    """
    shards = layout.image_shards(data) if isinstance(given, PixelInput) else layout.region_shards(data)
    images = registry.load(registry.READERS[given.kind]).open(_there(data, shards), split, given)
    images.verify(layout.verified(data, shards))
    with announced(f"Reading the captions of {split}"):
        table = captions.read(layout.captions(data), split)
    return Split.open(images, table, tokeniser, layout.tokens(data, split, tokeniser.kind))


def feature_width(data: str) -> int | None:
    """Of the data set's region features; None where it has none."""
    shards = layout.region_shards(data)
    return int(read_description(shards, KIND)["width"]) if shards.exists() else None


def features_of(data: str, pixels: bool, drawn: bool) -> str:
    """What results say of the images that a method was given, one of `INPUTS`.

    pixels: pictures in place of region features; drawn: pictures that a program drew
    """
    shards = layout.region_shards(data)
    kind = str(read_description(shards, KIND)["features"]) if shards.exists() or not pixels else PIXELS
    if not pixels or kind == SYNTHETIC:  # also of published shards, whose features say where they come from
        return kind
    return SYNTHETIC if drawn else PIXELS


def _there(data: str, folder: Path) -> Path:
    if not folder.exists():
        raise DataError.at(
            folder,
            "no such folder",
            f"{folder.name} of {data} in shards",
            do=f"Give datasets.{data}.shards.{folder.name}, then: dvc repro. Published shards hold what was published.",
        )
    return folder
