"""What `methods:` in params.yaml may say. Light to import: no torch here.

The published numbers of every method stand in params.yaml, with their source; these classes hold only types and limits.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator, model_validator

from itrcore.settings import Settings

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class BiGRUSettings(Settings):
    """Text encoder: word embedding → bidirectional GRU → mean of the two directions."""

    kind: Literal["bigru"]
    word_dim: Count
    dropout: Share  # on the word embeddings
    init: Literal["random", "glove"]  # what the word embeddings start from; glove: the data set's vocabulary.glove


class BertShape(Settings):
    """A BERT that starts at random."""

    hidden: Count
    layers: Count
    heads: Count
    intermediate: Count
    positions: Annotated[int, Field(ge=8)]  # longer captions are cut

    @model_validator(mode="after")
    def _heads_fit(self) -> BertShape:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self


class BertSettings(Settings):
    """Text encoder: BERT's last hidden state → linear layer."""

    kind: Literal["bert"]
    weights: str  # a BERT's name on the Hugging Face hub, the folder of one, or `random`
    revision: str | None = None  # of the hub's repository
    shape: BertShape | None = None  # of `random`, whose word pieces are the data set's own (vocabulary.word_pieces)
    dropout: Share  # after the linear layer

    @model_validator(mode="after")
    def _size_fits(self) -> BertSettings:
        _weights_fit(
            self.weights,
            self.revision,
            self.shape is not None,
            "shape (hidden, layers, heads, intermediate, positions)",
        )
        return self


class CLIPShape(Settings):
    """A CLIP that starts at random: its picture and text towers. Both end in vectors of `model.dim`."""

    picture: Count  # side in pixels
    patch: Count
    image_hidden: Count
    image_layers: Count
    image_heads: Count
    image_intermediate: Count
    text_hidden: Count
    text_layers: Count
    text_heads: Count
    text_intermediate: Count
    positions: Annotated[int, Field(ge=8)]  # longer captions are cut

    @model_validator(mode="after")
    def _parts_fit(self) -> CLIPShape:
        if self.picture % self.patch:
            raise ValueError(f"picture {self.picture} must be a multiple of patch {self.patch}")
        for tower, hidden, heads in (
            ("image", self.image_hidden, self.image_heads),
            ("text", self.text_hidden, self.text_heads),
        ):
            if hidden % heads:
                raise ValueError(f"{tower}_hidden {hidden} must be a multiple of {tower}_heads {heads}")
        return self


class CLIPSettings(Settings):
    """Both towers of a CLIP."""

    kind: Literal["clip"]
    weights: str  # a CLIP's name on the Hugging Face hub, the folder of one, or `random`
    revision: str | None = None  # of the hub's repository
    shape: CLIPShape | None = None  # of `random`, whose word pieces are the data set's own (vocabulary.word_pieces)
    strip: str  # characters taken off both ends of a caption: "." for Flickr30K, "" for MS-COCO, as published

    @model_validator(mode="after")
    def _size_fits(self) -> CLIPSettings:
        _weights_fit(self.weights, self.revision, self.shape is not None, "shape with the sizes of its towers")
        return self


TextSettings = Annotated[BiGRUSettings | BertSettings, Field(discriminator="kind")]


class ResNetShape(Settings):
    """A ResNet of bottleneck blocks that starts at random: channels and blocks of its four stages."""

    embedding: Count  # channels of the stem
    widths: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=4, max_length=4)]
    depths: Annotated[list[Count], Field(min_length=4, max_length=4)]


class GridSettings(Settings):
    """Grid features: a ResNet's last cells in place of precomputed regions, trained along with the method.

    backbone: bottom-up attention's detector (ResNet-101), ImageNet's ResNet-152 or WSL's ResNeXt-101
    """

    backbone: Literal["detector", "imagenet_res152", "wsl"]
    weights: str  # a name on the Hugging Face hub, a folder or a file, as the backbone has it, or `random`
    shape: ResNetShape | None = None  # of `random`
    picture: Annotated[int, Field(ge=32, multiple_of=32)]  # side in pixels that pictures are stretched to
    random_crop: Annotated[float, Field(gt=0.0, le=1.0)]  # training: the least share of each side that a crop keeps
    flip: bool  # training: left and right swapped in half of the pictures
    warmup_epochs: Annotated[int, Field(ge=0)]  # the backbone is frozen in these
    stage_epochs: Annotated[int, Field(ge=0)]  # then one more of its stages is opened every so many; 0: all at once

    @model_validator(mode="after")
    def _size_fits(self) -> GridSettings:
        _weights_fit(self.weights, None, self.shape is not None, "shape (embedding, widths, depths)")
        if self.backbone == "wsl" and self.shape is not None:
            raise ValueError(
                "the backbone wsl has its own form; what starts at random is a detector or imagenet_res152"
            )
        return self


def _weights_fit(weights: str, revision: str | None, has_shape: bool, shape: str) -> None:
    """What starts at random has a shape, what has weights brings its own."""
    if (weights == "random") != has_shape:
        raise ValueError(
            f"shape is for weights: random; those of {weights} have their own"
            if has_shape
            else f"weights: random needs {shape}"
        )
    if weights == "random" and revision is not None:
        raise ValueError("revision is for weights from the hub; remove it")


class GPOSettings(Settings):
    """Generalized pooling operator (VSE∞): learned weights over the sorted values of each dimension."""

    kind: Literal["gpo"]
    code_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    hidden_dim: Count
    temperature: Positive


class MeanSettings(Settings):
    """Mean pooling (VSE++ on regions)."""

    kind: Literal["mean"]


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
    def family(self) -> str:
        """What the field calls it, with its text encoder."""
        return f"{self.kind}_{self.text.kind}"

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
        return self.on_regions + ("_grid" if self.grid else "")

    @property
    def on_regions(self) -> str:
        """The family on region features."""
        return super().family


class VSESettings(SetSettings):
    """VSE++ (mean pooling) and VSE∞ (GPO)."""

    kind: Literal["vse"]
    pooling: Annotated[GPOSettings | MeanSettings, Field(discriminator="kind")]

    @property
    def on_regions(self) -> str:
        """The pooling is what tells the two apart."""
        return f"{'vse_infty' if isinstance(self.pooling, GPOSettings) else 'vse_pp'}_{self.text.kind}"


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
    def short(self) -> str:
        """ESL-H or ESL-A, with its text encoder."""
        return f"esl_{self.strategy[0]}_{self.text.kind}"


class ESLSettings(LevelSettings, SetSettings):
    """ESL on sets: every word attends to every region, level by level."""

    kind: Literal["esl"]
    text: TextSettings

    @property
    def on_regions(self) -> str:
        """The strategy is part of the name."""
        return self.short


class ESLCLIPSettings(LevelSettings):
    """ESL on one CLIP vector per image and caption."""

    loss_settings: ClassVar[type[Settings]] = SymmetricSettings

    kind: Literal["esl_clip"]
    text: CLIPSettings

    @property
    def family(self) -> str:
        """The strategy is part of the name."""
        return self.short

    @property
    def reads_pixels(self) -> bool:
        """CLIP's own tower sees the pictures."""
        return True


class StepSchedule(Settings):
    """The learning rate is multiplied by `factor` when so many epochs are done, and again at each further number."""

    kind: Literal["step"]
    epochs: list[Count]
    factor: Positive

    @model_validator(mode="after")
    def _rises(self) -> StepSchedule:
        if self.epochs != sorted(set(self.epochs)):
            raise ValueError(f"epochs must rise, not {self.epochs}")
        return self


class CosineSchedule(Settings):
    """The learning rate rises from 0 over the first share of all steps, `warmup`, and falls to 0 as a cosine."""

    kind: Literal["cosine"]
    warmup: Share


class Recipe(Settings):
    """How a method is optimised: AdamW.

    evaluations: on dev, an epoch, evenly spread; the last is at its end. The best of all is kept
    """

    learning_rate: Positive
    factors: dict[Literal["bert", "clip", "backbone"], Positive] = Field(default_factory=dict)  # of the learning rate
    weight_decay: Annotated[float, Field(ge=0.0)]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    evaluations: Count
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="kind")]
    clip_norm: Positive

    @model_validator(mode="after")
    def _schedule_fits(self) -> Recipe:
        steps = self.schedule.epochs if isinstance(self.schedule, StepSchedule) else []
        if steps and steps[-1] >= self.epochs:
            raise ValueError(
                f"schedule.epochs {steps} reach past the last of {self.epochs} epochs; lower them or raise epochs "
                "(a profile that shortens epochs must say schedule.epochs too)"
            )
        return self


class MethodSettings(Settings):
    """One entry of `methods:`."""

    model: Annotated[VSESettings | ESASettings | ESLSettings | ESLCLIPSettings, Field(discriminator="kind")]
    loss: SerializeAsAny[Settings]  # of the class that the model's settings name
    recipe: Recipe

    @property
    def family(self) -> str:
        """Method and text encoder, such as `esa_bert`: the same whatever params.yaml calls this entry."""
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
