"""What a method's recipe may say. The settings of each method stand in its own folder of `itrcore/methods/`.

The published numbers of every method stand in recipes/, with their source; these classes hold only types and limits.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from itrcore import registry
from itrcore.settings.encoders import (
    BertSettings,
    BiGRUSettings,
    CLIPSettings,
    GridSettings,
    TextSettings,
    TowersSettings,
)
from itrcore.settings.losses import (
    LossSettings,
    MomentumSettings,
    ScaledSettings,
    SelfExpandingSettings,
    SigmoidSettings,
    WarmedSettings,
)
from itrcore.settings.optimisation import OptimisationSettings
from itrcore.settings.strict import Fraction, Positive, Settings, Share

RECONSTRUCTED = "_reconstructed"  # in the family of a method that is one
ZERO_SHOT = " zero-shot"  # in the family of a method that is not trained


class TokenViewSettings(Settings):
    """Each word is touched with probability `touch`; a touched word is masked, replaced by a random one or removed."""

    touch: Fraction
    mask: Fraction
    random: Fraction
    remove: Fraction

    @model_validator(mode="after")
    def _shares_add_up(self) -> TokenViewSettings:
        if abs(self.mask + self.random + self.remove - 1.0) > 1e-9:
            raise ValueError(f"mask + random + remove must be 1, not {self.mask + self.random + self.remove:g}")
        return self


class ModelSettings(Settings):
    """What every method's `model` says; a method's own settings add to it."""

    kind: str
    dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text: BiGRUSettings | BertSettings | CLIPSettings | TowersSettings

    @property
    def name(self) -> str:
        """What the field calls it, without its encoders."""
        return self.kind

    @property
    def family(self) -> str:
        """What the field calls it, with its text encoder; a reconstruction is said to be one."""
        return f"{self.name}_{self.text.kind}{RECONSTRUCTED if self.reconstructed else ''}"

    @property
    def images(self) -> Literal["regions", "grid", "pictures"]:
        """What it makes of images: precomputed regions, a grid of cells, or what its text side's CLIP sees in pictures."""
        return "regions"

    @property
    def reads_pixels(self) -> bool:
        """Whether it needs pictures in place of region features."""
        return self.images != "regions"

    @property
    def n_views(self) -> int:
        """How many views of each image and caption training makes."""
        return 1

    @property
    def touched(self) -> TokenViewSettings | None:
        """How training changes captions; None: it does not."""
        return None

    @property
    def attends(self) -> bool:
        """Whether words attend to regions, so that `itr explain` can show which word looks where."""
        return False

    @property
    def brings_scale(self) -> bool:
        """Whether a learned scale of its similarities comes with its pretrained weights."""
        return False

    @property
    def whole(self) -> bool:
        """Whether its pretrained weights are all of it, so that it works untrained."""
        return False

    @property
    def vector_width(self) -> int | None:
        """The width of the one vector that it makes of each image and caption; None where it makes sets."""
        return None

    @property
    def concepts(self) -> bool:
        """Whether it is built from the data set's concepts."""
        return False

    @property
    def reconstructed(self) -> bool:
        """Whether it is built from its paper's abstract and its relatives: its figures are none of the paper's."""
        return False

    @property
    def chosen_on_dev(self) -> tuple[str, ...]:
        """Names of its settings that each evaluation on dev chooses anew."""
        return ()

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
    def images(self) -> Literal["regions", "grid", "pictures"]:
        """A grid where its settings say so."""
        return "regions" if self.grid is None else "grid"

    @property
    def touched(self) -> TokenViewSettings | None:
        """As `token_views` says."""
        return self.token_views

    @property
    def parts(self) -> set[str]:
        """The grid's ResNet beside the text encoder."""
        return super().parts | ({"backbone"} if self.grid else set())

    @property
    def family(self) -> str:
        """With grid features it is a family of its own: other weights, other published figures."""
        return super().family + ("_grid" if self.grid else "")


class PictureSettings(ModelSettings):
    """Methods whose images are read by the picture tower that comes with their text encoder: CLIP and its like."""

    @property
    def images(self) -> Literal["regions", "grid", "pictures"]:
        """That tower sees the pictures."""
        return "pictures"

    @property
    def brings_scale(self) -> bool:
        """The towers' own."""
        return True


class CrossSettings(ModelSettings):
    """Stacked cross attention between words and regions: SCAN and what follows it.

    softmax_scale: what normalised attention is multiplied by before the softmax
    """

    text: TextSettings
    softmax_scale: Positive


class MethodSettings(Settings):
    """A method: its model, its loss and how it is trained."""

    model: SerializeAsAny[ModelSettings]  # of the class that the registry has for its kind
    loss: LossSettings
    recipe: OptimisationSettings

    @property
    def family(self) -> str:
        """Method and text encoder, such as `esa_bert`: the same whatever its recipe is called."""
        return self.model.family + (ZERO_SHOT if self.zero_shot else "")

    @property
    def zero_shot(self) -> bool:
        """Whether nothing is trained: its weights are the published ones."""
        return self.recipe.epochs == 0

    @field_validator("model", mode="plain")
    @classmethod
    def _of_its_kind(cls, value: Any, info: ValidationInfo) -> ModelSettings:
        if isinstance(value, ModelSettings):
            return value
        if not isinstance(value, dict):
            return ModelSettings.model_validate(value)  # refuses it
        # The errors that pydantic has for unions, so that `yaml_file` words them as it words those.
        if "kind" not in value:
            raise PydanticKnownError("union_tag_not_found", {"discriminator": "'kind'"})
        kind = str(value["kind"])
        if kind not in registry.METHODS:
            tags = ", ".join(f"'{known}'" for known in registry.METHODS)
            raise PydanticKnownError(
                "union_tag_invalid", {"discriminator": "'kind'", "tag": kind, "expected_tags": tags}
            )
        settings: type[ModelSettings] = registry.load(registry.METHODS[kind][0])
        if info.mode == "json":  # by JSON's rules again: a list may be a tuple
            return settings.model_validate_json(json.dumps(value))
        return settings.model_validate(value)

    @model_validator(mode="after")
    def _trains(self) -> MethodSettings:
        if self.zero_shot and not self.model.whole:
            raise ValueError(
                f"recipe.epochs 0 trains nothing, and model.kind {self.model.kind} has weights that are drawn at random; "
                "set recipe.epochs to 1 or more"
            )
        return self

    @model_validator(mode="after")
    def _frozen_words_fit(self) -> MethodSettings:
        text, touched = self.model.text, self.model.touched
        if isinstance(text, BertSettings) and text.freeze and touched is not None and touched.remove < 1.0:
            raise ValueError(
                "model.text.freeze keeps BERT's hidden states of each caption, so training can remove words but neither mask "
                f"nor replace them; set model.token_views to {{touch: {touched.touch:g}, mask: 0, random: 0, remove: 1}}"
            )
        return self

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
        loss = self.loss.compared
        if isinstance(loss, WarmedSettings) and loss.warmup_epochs >= self.recipe.epochs:
            raise ValueError(
                f"{self._compared}.warmup_epochs {loss.warmup_epochs} must be less than recipe.epochs {self.recipe.epochs}"
            )
        return self

    @model_validator(mode="after")
    def _loss_fits(self) -> MethodSettings:
        views = self.model.n_views
        if views > 1 and not isinstance(self.loss, SelfExpandingSettings):
            raise ValueError(
                f"loss.kind {self.loss.kind} takes one view of each image and caption, and model.views is {views}; choose "
                "loss.kind self_expanding, or set model.views to 1"
            )
        loss = self.loss.compared
        if isinstance(loss, ScaledSettings) and (loss.initial_scale is None) != self.model.brings_scale:
            raise ValueError(
                f"remove {self._compared}.initial_scale: the scale comes with this model's CLIP"
                if self.model.brings_scale
                else f"{self._compared}.initial_scale is missing; CLIP starts from 14.3, which is a temperature of 0.07"
            )
        # Weights that bring a scale may bring a bias as well, as SigLIP's do: that is known when they are read.
        if isinstance(loss, SigmoidSettings) and loss.initial_bias is None and not self.model.brings_scale:
            raise ValueError("loss.initial_bias is missing; SigLIP starts from -10")
        return self

    @model_validator(mode="after")
    def _queue_fits(self) -> MethodSettings:
        if not isinstance(self.loss, MomentumSettings):
            if names := self.model.chosen_on_dev:
                raise ValueError(
                    f"model.{names[0]} is chosen on dev, which goes with loss.kind momentum_contrast alone: loss.kind "
                    f"{self.loss.kind} would train on what dev has chosen; choose that loss, or give model.{names[0]} a number"
                )
            return self
        if self.model.vector_width is None:
            raise ValueError(
                f"loss.kind momentum_contrast keeps one vector of each image and caption, and model.kind {self.model.kind} makes "
                "sets; choose another loss, or a model such as vse"
            )
        if self.loss.clusters is not None and not self.model.concepts:
            raise ValueError(
                f"loss.clusters are predicted from concepts, which model.kind {self.model.kind} does not have; remove them, or "
                "choose model.kind coder"
            )
        return self

    @property
    def _compared(self) -> str:
        return "loss" if self.loss.compared is self.loss else "loss.loss"
