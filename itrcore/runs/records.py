"""The records of a run and of an ensemble: run.json, history.json, evaluation.json and metrics.json, each with its class.

They are written and read by `folder.py`.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from itrcore.settings.datasets import INPUTS, PIXELS
from itrcore.settings.methods import MethodSettings
from itrcore.settings.runs import Scale
from itrcore.settings.training import TrainingSettings

Inputs = dict[str, Any]  # what decides a result (`itrcore/runs/inputs.py`): code, settings, data
Origin = Literal["trained", "imported", "zero-shot", "simulated"]  # simulated: no model, scores made by a program
AGAINST_COLLAPSE = (
    "What usually helps: a longer warm-up (loss.warmup_epochs of a hinge loss, recipe.schedule.warmup of a cosine), a lower "
    "recipe.learning_rate, another recipe.batch_size."
)


class Record(BaseModel):
    """Strictly typed and frozen. Numbers that are not finite are refused; keys that a class does not have are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class Checkpoint(Record):
    """The file that an imported run was read from, or where a pulled one was trained, and what that says of its training.

    sha256: of the file, or of the pulled run.json; epoch: epochs done; best_rsum: on dev, up to 600
    vocabulary: its path, or which one, in words
    """

    path: str
    sha256: str
    epoch: int | float | None
    best_rsum: float | None
    vocabulary: str


class RunDescription(Record):
    """What is known of a run before it has weights; a tracker's `begin` is given this.

    settings: the method's; of an import with the sizes of its checkpoint
    family: method and text encoder, by their published names; profile: what it changes of its method's recipe
    features: one of `INPUTS`; width: of region features, if it reads any; parameters: number of the method's
    data_digest: of the captions of train and dev; text_digest, image_digest: of its text and image sides
    training: of a training alone; checkpoint: of an import alone; inputs: what decides its weights
    """

    name: str
    data: str
    method: str
    seed: int | None
    profile: str
    family: str
    origin: Origin
    selected_on: str
    settings: MethodSettings
    training: TrainingSettings | None
    checkpoint: Checkpoint | None
    features: str
    width: int | None
    parameters: int
    data_digest: str
    text_digest: str
    image_digest: str | None
    code_version: str
    inputs: Inputs


class Run(RunDescription):
    """run.json.

    files: path in the run's folder → SHA-256, of all but the records: weights, text and image side
    chosen: what the method left to dev, name → value; it stands in the weights
    best_epoch, dev_rsum: epochs done at the evaluation on dev whose weights are kept, and its rsum
    train_seconds, device, precision: None for what was not trained here
    micro_batch: pairs that were encoded at once at the end of the training; None: all of a batch
    """

    files: dict[str, str]
    chosen: dict[str, float] = {}
    best_epoch: int | float | None
    dev_rsum: float | None = None
    train_seconds: float | None = None
    device: str | None = None
    precision: str | None = None
    micro_batch: int | None = None


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


class Collapse(Record):
    """How near an evaluation on dev is to a collapse, in which all items look alike (`itrcore/training/collapse.py`).

    image_rank, text_rank: effective rank of each side's vectors, or of the means of its sets; 1: all point one way
    i2t_hub, t2i_hub: share of queries, in percent, whose best item is the one that wins most queries
    loss: since the evaluation before, divided by the loss that a constant similarity gives; None where that is not known
    collapsed: whether this counts as a collapse
    """

    image_rank: float
    text_rank: float
    i2t_hub: float
    t2i_hub: float
    loss: float | None
    collapsed: bool

    @property
    def signs(self) -> str:
        """The figures in words."""
        loss = "" if self.loss is None else f"; the loss is {self.loss:.2f} times that of a constant similarity"
        return (
            f"effective rank of images {self.image_rank:.1f}, of captions {self.text_rank:.1f}; one caption is the best of "
            f"{self.i2t_hub:.0f} % of images, one image of {self.t2i_hub:.0f} % of captions{loss}"
        )


class Point(Record):
    """One evaluation on dev during a training.

    evaluation: its number, from 1; epoch: epochs done by then
    losses: mean of each term per pair since the evaluation before; `total`: of their weighted sum
    seconds: of training since the evaluation before
    collapse: None in records from before it was watched
    inner: figures of what goes on inside the method and its training, if they have any (`Method.inner`)
    chosen: what the method leaves to dev, with which `dev` was measured
    """

    evaluation: int
    epoch: int | float
    learning_rate: float
    losses: dict[str, float]
    dev: Metrics
    seconds: float
    pairs_per_second: float
    collapse: Collapse | None = None
    inner: dict[str, float] = {}
    chosen: dict[str, float] = {}

    @property
    def collapsed(self) -> bool:
        """Whether it is known to have collapsed."""
        return self.collapse is not None and self.collapse.collapsed

    @property
    def more(self) -> dict[str, float]:
        """The figures that methods have of their own: of what goes on inside, and what dev chose."""
        return self.inner | self.chosen

    @model_validator(mode="after")
    def _has_a_total(self) -> Point:
        if "total" not in self.losses:
            raise ValueError("losses must hold 'total'")
        return self


class History(Record):
    """history.json of a training."""

    evaluations: Annotated[tuple[Point, ...], Field(min_length=1)]
    best_epoch: int | float

    @property
    def watched(self) -> bool:
        """Whether a collapse was watched for at every evaluation."""
        return all(point.collapse is not None for point in self.evaluations)

    @property
    def chosen(self) -> dict[str, float]:
        """What dev chose at the evaluation whose weights are kept."""
        return next((point.chosen for point in self.evaluations if point.epoch == self.best_epoch), {})

    @property
    def more(self) -> list[str]:
        """Names of the figures of its method's own that every evaluation has."""
        return [name for name in self.evaluations[0].more if all(name in point.more for point in self.evaluations)]

    @property
    def collapsed_from(self) -> Point | None:
        """Of a training that ended collapsed: the first of the evaluations that were so until the end."""
        return next(reversed(list(takewhile(lambda point: point.collapsed, reversed(self.evaluations)))), None)


class Mixing(Record):
    """How the similarities of an ensemble's members became one.

    weights: of the members, in their order, summing to 1; chosen_on: the split that chose them; None for equal ones
    scale: what was done to each member's similarities before
    """

    weights: tuple[float, ...]
    chosen_on: str | None
    scale: Scale


class Search(Record):
    """One caption among a gallery of encoded images. ms: until its best are known; measured: or else extrapolated"""

    gallery: Annotated[int, Field(ge=1)]
    ms: Annotated[float, Field(gt=0)]
    measured: bool


class Efficiency(Record):
    """What retrieval costs once a gallery is encoded (`itrcore/evaluation/efficiency.py`).

    embeds: whether similarities are inner products of one vector per item; otherwise words are compared with regions
    image_bytes, caption_bytes: memory of one, encoded; device: its name; threads: of the CPU
    """

    embeds: bool
    image_bytes: float
    caption_bytes: float
    searches: tuple[Search, ...]
    device: str
    threads: int

    @property
    def figures(self) -> dict[str, float]:
        """By name, those of each gallery too: `search_1000_ms`, `gallery_1000_bytes`."""
        found = {f"search_{search.gallery}_ms": search.ms for search in self.searches}
        found |= {f"gallery_{search.gallery}_bytes": search.gallery * self.image_bytes for search in self.searches}
        return {**found, "image_bytes": self.image_bytes, "caption_bytes": self.caption_bytes}

    @property
    def extrapolated(self) -> set[str]:
        """Those of `figures` that were not measured."""
        return {f"search_{search.gallery}_ms" for search in self.searches if not search.measured}


class Measured(Record):
    """What evaluation.json and metrics.json both say: which model, on which data, at what cost.

    family: an ensemble joins those of its members by +; features: one of `INPUTS`, or a list of them for an ensemble
    members, mixing: of an ensemble, which has None for what belongs to a single run
    dev_rsum: of a run, at the evaluation whose weights are kept; of an ensemble, on the same part of dev; of a transfer None
    trained_on, weights_of: of a transfer the data set and the run that its weights are of; None for all else
    files: path → SHA-256, of the scores of each split
    encode_…, score_…: milliseconds per image and per caption; precision: of encoding, as similarities are always float32
    efficiency: None for an ensemble, and in records from before it was measured
    """

    kind: Literal["run", "ensemble"]
    name: str
    data: str
    family: str | None
    origin: Origin | None = None
    seed: int | None = None
    checkpoint: Checkpoint | None = None
    members: tuple[str, ...] = ()
    mixing: Mixing | None = None
    trained_on: str | None = None
    weights_of: str | None = None
    features: str
    selected_on: str
    dev_rsum: float | None = None
    parameters: int
    train_seconds: float | None = None
    encode_image_ms: float | None = None
    encode_caption_ms: float | None = None
    score_image_ms: float | None = None
    score_caption_ms: float | None = None
    efficiency: Efficiency | None = None
    device: str | None = None
    precision: str | None = None
    code_version: str
    data_digest: str
    files: dict[str, str]

    @field_validator("features")
    @classmethod
    def _features_known(cls, value: str) -> str:
        # An unknown spelling must not pass for real features.
        if unknown := set(value.split(", ")) - set(INPUTS):
            raise ValueError(f"{', '.join(sorted(unknown))} is none of {', '.join(INPUTS)}")
        return value

    @model_validator(mode="after")
    def _belongs_together(self) -> Measured:
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
    def elsewhere(self) -> str:
        """Of a run that was not trained here, where its scores are from: `imported`, `zero-shot` or `simulated`; else empty."""
        return "" if self.origin in (None, "trained") else self.origin


class Scores(Measured):
    """evaluation.json: a run's scores on test, and on the part of dev that chose its weights.

    attends: whether its words attend to regions
    test_digest, dev_digest: of the captions and images of both splits; inputs: what decides the scores besides the weights
    """

    attends: bool
    test_digest: str
    dev_digest: str
    inputs: Inputs


class Evaluation(Measured):
    """metrics.json: the figures of a run or an ensemble. files: also of the ranks.

    metrics: on the split as a whole; protocols: the figures by every other protocol of its data set
    """

    method: str | None = None
    profile: str | None = None
    split: str
    n_images: Annotated[int, Field(ge=1)]
    n_captions: Annotated[int, Field(ge=1)]
    metrics: Metrics
    protocols: dict[str, dict[str, float]] = {}

    @property
    def by_protocol(self) -> dict[str, float]:
        """The figures by protocols, as `protocol/figure`."""
        return {f"{name}/{key}": value for name, figures in self.protocols.items() for key, value in figures.items()}

    @model_validator(mode="after")
    def _a_run_has_a_method(self) -> Evaluation:
        if self.kind == "run" and None in (self.method, self.profile, self.origin):
            raise ValueError("a run needs method, profile and origin")
        return self
