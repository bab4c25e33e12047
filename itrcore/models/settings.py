"""What `methods:` in params.yaml may say. Light to import: no torch here.

The published numbers of every method stand in params.yaml, with their source; these classes hold only types and limits.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

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
        if (self.weights == "random") != (self.shape is not None):
            raise ValueError(
                "weights: random needs shape (hidden, layers, heads, intermediate, positions)"
                if self.shape is None
                else f"shape is for weights: random; those of {self.weights} have their own"
            )
        if self.weights == "random" and self.revision is not None:
            raise ValueError("revision is for weights from the hub; remove it")
        return self


TextSettings = Annotated[BiGRUSettings | BertSettings, Field(discriminator="kind")]


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


class ModelSettings(Settings):
    """What every method's `model` says; a method's own settings add to it."""

    loss_settings: ClassVar[type[Settings]] = HingeSettings  # what its `loss` says

    kind: str
    dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text: TextSettings

    @property
    def family(self) -> str:
        """What the field calls it, with its text encoder."""
        return f"{self.kind}_{self.text.kind}"


class VSESettings(ModelSettings):
    """VSE++ (mean pooling) and VSE∞ (GPO)."""

    kind: Literal["vse"]
    pooling: Annotated[GPOSettings | MeanSettings, Field(discriminator="kind")]
    region_drop: Share  # training only: the share of regions that an image loses
    token_views: TokenViewSettings

    @property
    def family(self) -> str:
        """What the field calls it: the pooling is what tells the two apart."""
        return f"{'vse_infty' if isinstance(self.pooling, GPOSettings) else 'vse_pp'}_{self.text.kind}"


class ESASettings(ModelSettings):
    """ESA: external space attention aggregation over both sets, several views per item."""

    kind: Literal["esa"]
    views: Count
    region_drop: Share  # training only, drawn anew for each view
    token_views: TokenViewSettings


class Recipe(Settings):
    """How a method is optimised: AdamW with a step schedule."""

    learning_rate: Positive
    factors: dict[Literal["bert"], Positive] = Field(default_factory=dict)  # of the learning rate, by part of the model
    weight_decay: Annotated[float, Field(ge=0.0)]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    decay_epochs: list[Count]  # the learning rate is multiplied by `decay` when these many epochs are done
    decay: Positive
    clip_norm: Positive

    @model_validator(mode="after")
    def _schedule_fits(self) -> Recipe:
        if self.decay_epochs != sorted(set(self.decay_epochs)):
            raise ValueError(f"decay_epochs must rise, not {self.decay_epochs}")
        if self.decay_epochs and self.decay_epochs[-1] >= self.epochs:
            raise ValueError(
                f"decay_epochs {self.decay_epochs} reach past the last of {self.epochs} epochs; "
                "lower them or raise epochs (a profile that shortens epochs must say decay_epochs too)"
            )
        return self


class MethodSettings(Settings):
    """One entry of `methods:`."""

    model: Annotated[VSESettings | ESASettings, Field(discriminator="kind")]
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
        # Where the model itself is wrong, its loss is looked at as most methods have it.
        return (model or ModelSettings).loss_settings.model_validate(value)

    @model_validator(mode="after")
    def _factors_fit(self) -> MethodSettings:
        needed = {"bert"} if isinstance(self.model.text, BertSettings) else set()
        if set(self.recipe.factors) != needed:
            raise ValueError(
                "recipe.factors must give the factor of BERT's learning rate, such as {bert: 0.1}"
                if needed
                else f"recipe.factors {self.recipe.factors} name parts that this model does not have; remove them"
            )
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> MethodSettings:
        if isinstance(self.loss, HingeSettings) and self.loss.warmup_epochs >= self.recipe.epochs:
            raise ValueError(
                f"loss.warmup_epochs {self.loss.warmup_epochs} must be less than recipe.epochs {self.recipe.epochs}"
            )
        return self
