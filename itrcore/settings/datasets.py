"""What `datasets:` in params.yaml may say. Light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from itrcore.settings.features import LABELS, FeatureSettings
from itrcore.settings.strict import Count, Settings, Share

SPLITS = ("train", "dev", "test")
# Shown with every result. Closed on purpose: an unknown spelling must not pass for real features.
FeatureKind = Literal["bottom-up attention", "other", "simulated", "synthetic"]

FEATURE_KINDS: tuple[str, ...] = get_args(FeatureKind)
# What a result was computed from: region features of a kind or of a pretrained model, or the pictures themselves. Pictures that a
# program drew are as synthetic as features made from them.
SYNTHETIC, PIXELS = "synthetic", "pixels"
INPUTS = (*FEATURE_KINDS, *LABELS.values(), PIXELS)

Benchmark = Literal["f30k", "coco"]

Seed = Annotated[int, Field(ge=0, lt=2**31)]


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


class _Source(Settings):
    """What every kind of source says of itself, so that other code does not ask for the kind.

    paths: its keys that name files and folders outside the pipeline
    drawn: whether a program draws its pictures
    published: whether its shards are written already; what they hold is known only after stage `raw`
    has_pictures: whether it can have pictures
    """

    paths: ClassVar[tuple[str, ...]] = ()
    drawn: ClassVar[bool] = False
    published: ClassVar[bool] = False
    has_pictures: ClassVar[bool] = True

    @property
    def has_regions(self) -> bool:
        """Whether it has region features."""
        return True

    @property
    def captions_taken(self) -> int | None:
        """How many captions of each image are taken, the first ones; None: all."""
        return None


class ScenesSource(_Source):
    """The embedded data set: small drawn worlds (see `itrcore/data/scenes`)."""

    drawn = True

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


class SimulatedSource(_Source):
    """Real captions in SCAN's layout, region features made from them."""

    paths = ("captions",)
    has_pictures = False

    kind: Literal["simulated"]
    seed: Seed
    captions: str  # the folder with {split}_caps.txt (or .txt.gz) and {split}_ids.txt
    splits: SplitNames
    images: SplitSizes  # taken from the start of each split
    regions: Count
    width: Count
    zeros: Share  # the share of entries that are 0, as in bottom-up attention's features
    noise: Annotated[float, Field(ge=0.0)]
    distractors: Share  # the least share of regions that show nothing the captions name


class ScanSource(_Source):
    """SCAN's files on this disk: {split}_ims.npy, {split}_caps.txt, {split}_ids.txt.

    folder: of these files, or a folder above them in SCAN's or VSE∞'s layout; what belongs to the files is found there too
    """

    paths = ("folder", "karpathy", "pictures")

    kind: Literal["scan"]
    folder: str
    features: FeatureKind | Literal["none"]  # none: pictures alone
    splits: SplitNames
    karpathy: str | None = None  # Karpathy's JSON, where it does not lie with the files
    pictures: str | None = None  # the pictures' folder, where it does not lie with the files

    @property
    def has_regions(self) -> bool:
        """Whether it has region features."""
        return self.features != "none"


class KarpathySource(_Source):
    """Karpathy's JSON and a folder of pictures: for methods that need pixels, no region features."""

    paths = ("file", "pictures")

    kind: Literal["karpathy"]
    file: str
    pictures: str
    captions_per_image: Count  # taken from the start: 5 as published; some COCO images have more

    @property
    def has_regions(self) -> bool:
        """Never."""
        return False

    @property
    def captions_taken(self) -> int:
        """As `captions_per_image` says."""
        return self.captions_per_image


class ShardsSource(_Source):
    """Shards that someone has published: `captions.parquet` and `shards/` below an address, read through a cache."""

    published = True

    kind: Literal["shards"]
    url: Annotated[str, Field(pattern=r"^https?://")]
    cache: str = "cache/shards"  # shards are kept here, each downloaded once


class WordPieceSettings(Settings):
    """A WordPiece vocabulary trained on the captions, for a BERT that starts at random."""

    pieces: Annotated[int, Field(ge=100)]  # at most
    min_count: Count  # pieces that stand together less often than this are not joined


class GloVeSettings(Settings):
    """A GloVe text file (plain, .gz or .zip), for text encoders with init: glove."""

    file: str
    width: Count  # values of each vector; word_dim of those text encoders


class ConceptSettings(Settings):
    """The concepts that training captions speak of, for methods that reason with them: at most so many of each kind."""

    objects: Count
    motions: Count
    properties: Count


class VocabularySettings(Settings):
    """SCAN's vocabulary: words of train + dev with at least `min_count` occurrences.

    released: path of a released SCAN vocabulary, used in place of one built here; `found`: the one that lies with the files
    concepts: of words in at least `min_count` captions of train, with vectors from `glove` where that is given
    """

    min_count: Count
    released: str | None = None
    word_pieces: WordPieceSettings | None = None
    glove: GloVeSettings | None = None
    concepts: ConceptSettings | None = None


class RegionShardSettings(Settings):
    """How region features are stored."""

    dtype: Literal["float16", "float32"]
    samples_per_shard: Count


class ImageShardSettings(Settings):
    """How pictures are stored, for methods that need pixels."""

    samples_per_shard: Count
    max_megapixels: Annotated[float, Field(gt=0.0)]  # a larger picture is refused


class ShardSettings(Settings):
    """What of a data set is written into shards: region features, pictures, or both."""

    regions: RegionShardSettings | None = None
    images: ImageShardSettings | None = None


SourceSettings = ScenesSource | SimulatedSource | ScanSource | KarpathySource | ShardsSource


class DatasetSettings(Settings):
    """One entry of `datasets:`."""

    reads: str  # the file or folder that the source reads, for DVC to watch
    source: Annotated[SourceSettings, Field(discriminator="kind")]
    vocabulary: VocabularySettings
    shards: ShardSettings  # {} with the source `shards`, which has them
    features: FeatureSettings | None = None  # region features computed from the pictures in shards
    benchmark: Benchmark | None = None  # the published benchmark that it is: published figures are shown beside ours
    # What its test split is judged by beside the split as a whole: names in `registry.PROTOCOLS`.
    protocols: list[str] = Field(default=[])
    # The folder with Crisscrossed Captions' CSV files, or one above it, for protocols that read them.
    cxc: str | None = None
    # The folder with SugarCrepe's JSON files, or one above it: right and wrong captions, which `evaluate` scores.
    negatives: str | None = None
    # The folder with RoCOCO's JSON files, or one above it: altered captions, which `evaluate` scores.
    altered: str | None = None

    @property
    def drawn(self) -> bool:
        """Whether a program draws its pictures."""
        return self.source.drawn

    @property
    def ratings(self) -> Path | None:
        """The folder that `cxc` names."""
        return None if self.cxc is None else Path(self.cxc)

    @property
    def further(self) -> dict[str, Path]:
        """Files of captions beside its own: key of `registry.FURTHER` → path, of those that are given."""
        paths = {"negatives": self.negatives, "altered": self.altered}
        return {key: Path(path) for key, path in paths.items() if path is not None}

    @property
    def without_regions(self) -> bool:
        """Whether it will have no region features; of published shards that is not known here."""
        return self.shards.regions is None and self.features is None and not self.source.published

    @property
    def label(self) -> str | None:
        """What results say of the features that are computed from its pictures, one of `INPUTS`; None for none."""
        if self.features is None:
            return None
        return SYNTHETIC if self.drawn else LABELS[self.features.extractor.kind]

    @property
    def without_pictures(self) -> bool:
        """Whether it will have no pictures in shards; of published shards that is not known here."""
        return self.shards.images is None and not self.source.published

    def paths(self) -> dict[str, str]:
        """The files and folders outside the pipeline that it names: key → path."""
        glove = self.vocabulary.glove
        paths = {
            "cxc": self.cxc,
            "negatives": self.negatives,
            "altered": self.altered,
            "vocabulary.released": self.vocabulary.released,
            "vocabulary.glove.file": glove.file if glove else None,
            **{f"source.{key}": getattr(self.source, key) for key in self.source.paths},
        }
        return {key: path for key, path in paths.items() if path is not None}

    @model_validator(mode="after")
    def _shards_fit(self) -> DatasetSettings:
        written = self.shards.regions is not None or self.shards.images is not None
        if self.source.published and written:
            raise ValueError("this source's shards are written already; write shards: {}")
        if not self.source.published and not written:
            raise ValueError("shards: give regions, images or both")
        if self.shards.regions and not self.source.has_regions:
            raise ValueError("shards.regions needs features, and this source has none; remove it")
        if self.shards.images and not self.source.has_pictures:
            raise ValueError("shards.images needs pictures, and this source has none; remove it")
        if self.features and self.shards.regions:
            raise ValueError("features are computed in place of those of shards.regions; remove one of the two")
        if self.features and self.without_pictures:
            raise ValueError(
                "features are computed from the pictures in shards; give shards.images, or remove features"
            )
        return self
