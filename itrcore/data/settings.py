"""What `datasets:` in params.yaml may say. Light to import."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.settings import Settings

SPLITS = ("train", "dev", "test")

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class SplitSizes(Settings):
    """Images per split."""

    train: Count
    dev: Count
    test: Count


class SplitNames(Settings):
    """The prefix of each split's files in a SCAN folder (COCO's test split is `testall` there)."""

    train: str
    dev: str
    test: str


class ScenesSource(Settings):
    """The embedded data set: small drawn worlds (see `itrcore/data/scenes`)."""

    kind: Literal["scenes"]
    seed: Seed
    images: SplitSizes
    captions_per_image: Count
    regions: Count
    width: Count
    min_objects: Annotated[int, Field(ge=2)]
    max_objects: Annotated[int, Field(ge=2)]
    near_duplicates: Count  # scenes of one family; they differ from each other in one attribute or relation
    noise: Annotated[float, Field(ge=0.0)]  # standard deviation, relative to that of the projected object
    picture_size: Annotated[int, Field(ge=32)]

    @model_validator(mode="after")
    def _objects_fit(self) -> ScenesSource:
        if self.min_objects > self.max_objects:
            raise ValueError(f"min_objects {self.min_objects} is above max_objects {self.max_objects}")
        if self.regions < self.max_objects:
            raise ValueError(f"regions {self.regions} cannot hold max_objects {self.max_objects}")
        return self


class SimulatedSource(Settings):
    """Real captions in SCAN's layout, region features made from them."""

    kind: Literal["simulated"]
    seed: Seed
    captions: str  # the folder with {split}_caps.txt (or .txt.gz) and {split}_ids.txt
    splits: SplitNames
    images: SplitSizes  # the first so many of each split
    regions: Count
    width: Count
    zeros: Share  # the share of entries that are 0, as in bottom-up attention's features
    noise: Annotated[float, Field(ge=0.0)]
    distractors: Share  # the least share of regions that show nothing the captions name


class ScanSource(Settings):
    """SCAN's files in a folder on this disk: {split}_ims.npy, {split}_caps.txt, {split}_ids.txt."""

    kind: Literal["scan"]
    folder: str
    features: Literal["bottom-up attention", "simulated", "synthetic"]  # shown with every result
    splits: SplitNames


class VocabularySettings(Settings):
    """SCAN's vocabulary: words of train + dev with at least `min_count` occurrences."""

    min_count: Count
    released: str | None = None  # path of a released SCAN vocabulary to use in place of one built here


class ShardSettings(Settings):
    """How features are stored."""

    dtype: Literal["float16", "float32"]
    samples_per_shard: Count


class DatasetSettings(Settings):
    """One entry of `datasets:`."""

    reads: str  # the file or folder that the source reads, for DVC to watch
    source: Annotated[ScenesSource | SimulatedSource | ScanSource, Field(discriminator="kind")]
    vocabulary: VocabularySettings
    shards: ShardSettings
