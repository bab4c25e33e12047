"""What a method's recipe may say. Light to import: no torch here.

The published numbers of every method stand in recipes/, with their source; these classes hold only types and limits.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from itrcore.data.settings import TokenViewSettings
from itrcore.models.encoder_settings import BertSettings, BiGRUSettings, CLIPSettings, GridSettings, TextSettings
from itrcore.models.recipe import Recipe
from itrcore.settings import Count, Positive, Settings, Share


class GPOSettings(Settings):
    """Generalized pooling operator (VSE∞): learned weights over the sorted values of each dimension."""

    kind: Literal["gpo"]
    code_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    hidden_dim: Count
    temperature: Positive


class MeanSettings(Settings):
    """Mean pooling (VSE++ on regions)."""

    kind: Literal["mean"]


class HingeSettings(Settings):
    """Hinge triplet loss; all negatives for `warmup_epochs`, then the hardest one."""

    margin: Positive
    warmup_epochs: Annotated[int, Field(ge=0)]


class SymmetricSettings(Settings):
    """Symmetric cross-entropy of the similarities times a learned scale."""

    max_scale: Positive


class ModelSettings(Settings):
    """What every method's `model` says; a method's own settings add to it."""

    loss_settings: ClassVar[type[Settings]] = HingeSettings  # what its `loss` says

    kind: str
    dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text: BiGRUSettings | BertSettings | CLIPSettings

    @property
    def name(self) -> str:
        """What the field calls it, without its encoders."""
        return self.kind

    @property
    def family(self) -> str:
        """What the field calls it, with its text encoder."""
        return f"{self.name}_{self.text.kind}"

    @property
    def reads_pixels(self) -> bool:
        """Whether it needs pictures in place of region features."""
        return False

    @property
    def parts(self) -> set[str]:
        """Parts with pretrained weights, whose learning rate has a factor of its own (`recipe.factors`)."""
        return {part for part in ("bert", "clip") if part == self.text.kind}


class SetSettings(ModelSettings):
    """Methods that encode an image's set of regions, or of a grid's cells, and a caption's words."""

    text: TextSettings
    region_drop: Share  # training only: the share of regions that an image loses
    token_views: TokenViewSettings
    grid: GridSettings | None = None  # None: precomputed region features

    @property
    def reads_pixels(self) -> bool:
        """With grid features alone."""
        return self.grid is not None

    @property
    def parts(self) -> set[str]:
        """The grid's ResNet beside the text encoder."""
        return super().parts | ({"backbone"} if self.grid else set())

    @property
    def family(self) -> str:
        """Grid features make it another one: its weights and published figures are others."""
        return super().family + ("_grid" if self.grid else "")


class VSESettings(SetSettings):
    """VSE++ (mean pooling) and VSE∞ (GPO)."""

    kind: Literal["vse"]
    pooling: Annotated[GPOSettings | MeanSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """The pooling is what tells the two apart."""
        return "vse_infty" if isinstance(self.pooling, GPOSettings) else "vse_pp"


class ESASettings(SetSettings):
    """ESA: external space attention aggregation over both sets, several views per item.

    region_drop: drawn anew for each view
    """

    kind: Literal["esa"]
    views: Count


class LevelSettings(ModelSettings):
    """ESL's measure-units: levels of features above the input, each `kernel` times narrower than the one below."""

    strategy: Literal["heuristic", "adaptive"]
    levels: Annotated[int, Field(ge=1, le=16)]
    kernel: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _levels_fit(self) -> LevelSettings:
        if self.dim % self.kernel**self.levels:
            raise ValueError(
                f"dim {self.dim} must be a multiple of kernel {self.kernel} to the power of levels {self.levels}, "
                f"{self.kernel**self.levels}"
            )
        return self

    @property
    def name(self) -> str:
        """ESL-H or ESL-A."""
        return f"esl_{self.strategy[0]}"


class ESLSettings(LevelSettings, SetSettings):
    """ESL on sets: every word attends to every region, level by level."""

    kind: Literal["esl"]
    text: TextSettings


class ESLCLIPSettings(LevelSettings):
    """ESL on one CLIP vector per image and caption."""

    loss_settings: ClassVar[type[Settings]] = SymmetricSettings

    kind: Literal["esl_clip"]
    text: CLIPSettings

    @property
    def reads_pixels(self) -> bool:
        """CLIP's own tower sees the pictures."""
        return True


class LSESettings(Settings):
    """SCAN's LogSumExp pooling: `log Σ exp(scale · x) / scale`."""

    kind: Literal["lse"]
    scale: Positive


class CrossSettings(ModelSettings):
    """Stacked cross attention between words and regions: SCAN and what follows it.

    softmax_scale: what normalised attention is multiplied by before the softmax
    """

    text: TextSettings
    softmax_scale: Positive


class SCANSettings(CrossSettings):
    """SCAN: words attend to regions (t2i) or regions to words (i2t).

    pooling: of the words' or regions' agreement with what they attend to
    """

    kind: Literal["scan"]
    direction: Literal["t2i", "i2t"]
    pooling: Annotated[LSESettings | MeanSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """Direction and pooling tell its four variants apart."""
        return f"scan_{self.direction}_{'lse' if isinstance(self.pooling, LSESettings) else 'avg'}"


class ReasoningSettings(Settings):
    """SGR: graph reasoning over a pair's alignments, step by step."""

    kind: Literal["sgr"]
    steps: Count


class FiltrationSettings(Settings):
    """SAF: attention filtration of a pair's alignments."""

    kind: Literal["saf"]


class AlignmentSettings(CrossSettings):
    """A vector of alignment for each word and one for the whole pair: SGRAF and what follows it.

    alignment_dim: of these vectors; dropout: in the attention that makes an item's whole vector
    ranked_regions: None: images may have any number of regions. A number: the released form, in which batch
        normalisation has weights for each region's place, so that every image must have just so many
    """

    alignment_dim: Count
    dropout: Share
    ranked_regions: Annotated[int, Field(ge=2)] | None = None


class SGRAFSettings(AlignmentSettings):
    """SGRAF's two halves, SGR and SAF; its figures are those of both in an ensemble."""

    kind: Literal["sgraf"]
    module: Annotated[ReasoningSettings | FiltrationSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """SGR or SAF."""
        return self.module.kind


class LHSCSettings(AlignmentSettings):
    """LHSC: layers of relations between regions and between words below SAF's similarity.

    layers: on each side; heads: of a layer between regions
    padding: masked: a caption's words alone take part. released: so does what pads it, as in the released code, and a
        caption's vectors depend on its batch
    """

    kind: Literal["lhsc"]
    text: BiGRUSettings
    layers: Count
    heads: Count
    padding: Literal["masked", "released"]

    @model_validator(mode="after")
    def _heads_fit(self) -> LHSCSettings:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} must be a multiple of heads {self.heads}")
        return self


class MethodSettings(Settings):
    """A method: its model, its loss and how it is trained."""

    model: Annotated[
        VSESettings | ESASettings | ESLSettings | ESLCLIPSettings | SCANSettings | SGRAFSettings | LHSCSettings,
        Field(discriminator="kind"),
    ]
    loss: SerializeAsAny[Settings]  # of the class that the model's settings name
    recipe: Recipe

    @property
    def family(self) -> str:
        """Method and text encoder, such as `esa_bert`: the same whatever its recipe is called."""
        return self.model.family

    @field_validator("loss", mode="plain")
    @classmethod
    def _loss_fits(cls, value: Any, info: ValidationInfo) -> Settings:
        model: ModelSettings | None = info.data.get("model")
        if model is not None:
            return model.loss_settings.model_validate(value)
        # Where the model itself is wrong, a loss of any method will do.
        with contextlib.suppress(ValidationError):
            return SymmetricSettings.model_validate(value)
        return HingeSettings.model_validate(value)

    @model_validator(mode="after")
    def _factors_fit(self) -> MethodSettings:
        needed, given = self.model.parts, set(self.recipe.factors)
        if missing := needed - given:
            raise ValueError(
                f"recipe.factors must give the factor of the learning rate of {' and '.join(sorted(missing))}, "
                f"such as {{{sorted(missing)[0]}: 0.1}}"
            )
        if unknown := given - needed:
            raise ValueError(
                f"recipe.factors name parts that this model does not have: {', '.join(sorted(unknown))}; remove them"
            )
        return self

    @model_validator(mode="after")
    def _backbone_opens(self) -> MethodSettings:
        grid = self.model.grid if isinstance(self.model, SetSettings) else None
        if grid is not None and grid.warmup_epochs >= self.recipe.epochs:
            raise ValueError(
                f"model.grid.warmup_epochs {grid.warmup_epochs} must be less than recipe.epochs {self.recipe.epochs}: the "
                "backbone would never train"
            )
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> MethodSettings:
        if isinstance(self.loss, HingeSettings) and self.loss.warmup_epochs >= self.recipe.epochs:
            raise ValueError(
                f"loss.warmup_epochs {self.loss.warmup_epochs} must be less than recipe.epochs {self.recipe.epochs}"
            )
        return self
