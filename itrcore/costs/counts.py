"""How much a data set holds: of a prepared one as it is, of another one as its settings or its publication say."""

from __future__ import annotations

from dataclasses import dataclass

from itrcore import layout
from itrcore.files import read_json
from itrcore.settings.datasets import SPLITS, DatasetSettings, ScenesSource, SimulatedSource

# Karpathy's splits, each image with five captions; a few of MS-COCO's have more, of which SCAN's files hold none.
_PUBLISHED = {"f30k": (29_000, 1_014, 1_000), "coco": (113_287, 5_000, 5_000)}
_CAPTIONS = 5
_REGIONS, _WIDTH = 36, 2048  # of bottom-up attention
_PICTURE = (500, 375)  # pixels of a photo, as most of Flickr30K's


@dataclass(frozen=True)
class SplitCounts:
    """Images and captions of a split."""

    images: int
    captions: int

    def first(self, captions: int) -> SplitCounts:
        """Of the first captions alone, and their images."""
        taken = min(captions, self.captions)
        return SplitCounts(max(1, self.images * taken // self.captions), taken)


@dataclass(frozen=True)
class Shape:
    """What images are to a method: their regions and the width of these; width and height of a picture in pixels."""

    regions: int
    width: int
    picture: tuple[int, int]


def counts(name: str, dataset: DatasetSettings) -> dict[str, SplitCounts] | None:
    """Of each split; None where only the stage `splits` will know."""
    try:
        record = read_json(layout.splits(name))
        return {split: SplitCounts(int(record[split]["images"]), int(record[split]["captions"])) for split in SPLITS}
    except (OSError, ValueError, TypeError, KeyError):  # not prepared; or damaged, which the next stage reports
        pass
    source = dataset.source
    if isinstance(source, ScenesSource | SimulatedSource):
        images = [getattr(source.images, split) for split in SPLITS]
        each = source.captions_per_image if isinstance(source, ScenesSource) else _CAPTIONS
    elif dataset.benchmark is not None:
        images, each = list(_PUBLISHED[dataset.benchmark]), source.captions_taken or _CAPTIONS
    else:
        return None
    return {split: SplitCounts(number, number * each) for split, number in zip(SPLITS, images, strict=True)}


def shape(name: str, dataset: DatasetSettings) -> Shape:
    """Of a data set's images, as its source says; what it does not say is as published."""
    source = dataset.source
    if isinstance(source, ScenesSource):
        return Shape(source.regions, source.width, (source.picture_size, source.picture_size))
    if isinstance(source, SimulatedSource):
        return Shape(source.regions, source.width, _PICTURE)
    try:
        width = int(read_json(layout.region_shards(name) / "shards.json")["width"])
    except (OSError, ValueError, TypeError, KeyError):
        width = _WIDTH
    return Shape(_REGIONS, width, _PICTURE)
