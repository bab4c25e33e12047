"""Opening a prepared data set by its name: the shards and captions that the stages made."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data import captions
from itrcore.data.batches import Split
from itrcore.data.images import Images, RegionImages
from itrcore.data.inputs import PixelInput, RegionInput
from itrcore.data.pixels import PixelImages
from itrcore.data.settings import PIXELS, SYNTHETIC
from itrcore.data.shards.images import ImageShardInfo, ImageStore
from itrcore.data.shards.regions import FeatureStore, ShardInfo
from itrcore.data.tokens import Tokeniser
from itrcore.errors import DataError
from itrcore.files import digest, sha256


def open_split(
    data: str, split: str, tokeniser: Tokeniser, given: RegionInput | PixelInput, verify: bool = False
) -> Split:
    """A split of a prepared data set, its images as a method reads them.

    verify: read every shard once and refuse a damaged one. `DataError` where the data set has no images of this kind.
    """
    images: Images
    if isinstance(given, PixelInput):
        images = PixelImages(ImageStore(_there(data, layout.image_shards(data)), split), given)
    else:
        images = RegionImages(FeatureStore(_there(data, layout.region_shards(data)), split), given)
    if verify:
        images.verify()
    return Split.open(images, captions.read(layout.captions(data), split), tokeniser)


def feature_width(data: str) -> int | None:
    """Of the data set's region features; None where it has none."""
    shards = layout.region_shards(data)
    return ShardInfo.read(shards).width if shards.exists() else None


def features_of(data: str, pixels: bool, drawn: bool) -> str:
    """What results say of the images that a method was given, one of `INPUTS`.

    pixels: pictures in place of region features; drawn: pictures that a program drew
    """
    shards = layout.region_shards(data)
    kind = ShardInfo.read(shards).features if shards.exists() or not pixels else PIXELS
    if not pixels or kind == SYNTHETIC:  # also of published shards, whose features say where they come from
        return kind
    return SYNTHETIC if drawn else PIXELS


def state_digest(data: str) -> str:
    """Of the data set's captions and images: results of the same digest can be compared and averaged."""
    regions, images = layout.region_shards(data), layout.image_shards(data)
    return digest(
        [
            ShardInfo.read(regions).digest if regions.exists() else None,
            ImageShardInfo.read(images).digest if images.exists() else None,
            sha256(layout.captions(data)),
        ]
    )


def _there(data: str, folder: Path) -> Path:
    if not folder.exists():
        raise DataError.at(
            folder,
            "no such folder",
            f"{folder.name} of {data} in shards",
            do=f"Give datasets.{data}.shards.{folder.name}, then: dvc repro. Published shards have what their address has.",
        )
    return folder
