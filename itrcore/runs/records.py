"""What the report reads of metrics.json, retrieved.json and history.json, as typed records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from itrcore.settings.datasets import INPUTS, PIXELS


class Record(BaseModel):
    """Strictly typed and frozen. Keys that the report does not use are ignored; a missing or wrong one is an error."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class Metrics(Record):
    """Both directions: recalls in percent, ranks from 1; `rsum` is the sum of the six recalls."""

    i2t_r1: float
    i2t_r5: float
    i2t_r10: float
    i2t_median: float
    i2t_mean: float
    t2i_r1: float
    t2i_r5: float
    t2i_r10: float
    t2i_median: float
    t2i_mean: float
    rsum: float


class Checkpoint(Record):
    """The file that an imported run was read from, and what it says of its training."""

    path: str
    sha256: str
    epoch: int | None
    best_rsum: float | None
    vocabulary: str  # its path, or whose it is


class Evaluation(Record):
    """metrics.json of a run or an ensemble."""

    name: str
    kind: Literal["run", "ensemble"]
    data: str
    features: str  # one of `INPUTS`; an ensemble lists those of its members
    split: str
    selected_on: str
    method: str | None
    family: str | None  # method and text encoder by their published names; those of an ensemble of several, joined by +
    origin: Literal["trained", "imported"] | None  # None for an ensemble
    seed: int | None
    profile: str | None
    checkpoint: Checkpoint | None = None
    members: tuple[str, ...] = ()
    n_images: Annotated[int, Field(ge=1)]
    n_captions: Annotated[int, Field(ge=1)]
    metrics: Metrics
    parameters: int
    train_seconds: float | None = None
    encode_image_ms: float | None = None
    encode_caption_ms: float | None = None
    score_image_ms: float | None = None
    score_caption_ms: float | None = None
    device: str | None = None
    precision: str | None = None  # of encoding; similarities are float32 always
    code_version: str
    data_digest: str

    @field_validator("features")
    @classmethod
    def _features_known(cls, value: str) -> str:
        # An unknown spelling must not pass for real features.
        if unknown := set(value.split(", ")) - set(INPUTS):
            raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(INPUTS)}")
        return value

    @model_validator(mode="after")
    def _a_run_has_a_method(self) -> Evaluation:
        if self.kind == "run" and None in (self.method, self.profile, self.origin):
            raise ValueError("a run needs method, profile and origin")
        if (self.seed is None) == (self.origin == "trained"):
            raise ValueError("a trained run needs a seed, and nothing else has one")
        if (self.checkpoint is None) == (self.origin == "imported"):
            raise ValueError("an imported run needs its checkpoint, and nothing else has one")
        return self

    @property
    def kinds(self) -> set[str]:
        """Every kind of `features`."""
        return set(self.features.split(", "))

    @property
    def region_features(self) -> str | None:
        """The kind of region features; None where pictures alone were read."""
        return ", ".join(sorted(self.kinds - {PIXELS})) or None

    @property
    def imported(self) -> bool:
        """Whether it is a run whose weights were trained elsewhere."""
        return self.origin == "imported"


class FoundCaption(Record):
    """One caption returned for a query image."""

    caption: str
    score: float
    correct: bool


class FoundImage(Record):
    """One image returned for a query caption."""

    image_id: int
    file_name: str | None
    score: float
    correct: bool


class ImageQuery(Record):
    """A query image, the rank of its first right caption (from 1), what came first, and all its right captions."""

    image_id: int
    file_name: str | None
    rank: Annotated[int, Field(ge=1)]
    retrieved: tuple[FoundCaption, ...]
    captions: tuple[str, ...]
    kind: Literal["good", "bad"]


class CaptionQuery(Record):
    """A query caption, the rank (from 1) and identity of its right image, and what came first."""

    caption: str
    rank: Annotated[int, Field(ge=1)]
    image_id: int
    file_name: str | None
    retrieved: tuple[FoundImage, ...]
    kind: Literal["good", "bad"]


class Retrieved(Record):
    """retrieved.json: the queries that the report shows."""

    image_to_text: tuple[ImageQuery, ...]
    text_to_image: tuple[CaptionQuery, ...]


class DevMetrics(Record):
    """What the curves need of the dev metrics of one evaluation."""

    rsum: float


class Point(Record):
    """One evaluation on dev during a training; losses are per-pair means since the one before, `total` their weighted sum.

    epoch: epochs done by then
    """

    epoch: float
    learning_rate: float
    losses: dict[str, float]
    dev: DevMetrics
    seconds: float
    pairs_per_second: float

    @model_validator(mode="after")
    def _has_a_total(self) -> Point:
        if "total" not in self.losses:
            raise ValueError("losses must hold 'total'")
        return self


class History(Record):
    """history.json of a training."""

    evaluations: Annotated[tuple[Point, ...], Field(min_length=1)]
    best_epoch: float
