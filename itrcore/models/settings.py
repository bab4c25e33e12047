"""What `methods:` in params.yaml may say. Light to import: no torch here.

The published numbers of every method stand in params.yaml, with their source; these classes hold only types and limits.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class VSESettings(Settings):
    """VSE++ (mean pooling) and VSE∞ (GPO)."""

    kind: Literal["vse"]
    dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text: BiGRUSettings
    pooling: Annotated[GPOSettings | MeanSettings, Field(discriminator="kind")]
    region_drop: Share  # training only: the share of regions that an image loses


class ESASettings(Settings):
    """ESA: external space attention aggregation over both sets, several views per item."""

    kind: Literal["esa"]
    dim: Annotated[int, Field(ge=2, multiple_of=2)]
    text: BiGRUSettings
    views: Count
    region_drop: Share  # training only, drawn anew for each view
    token_views: TokenViewSettings


class HingeSettings(Settings):
    """Hinge triplet loss; all negatives for `warmup_epochs`, then the hardest one."""

    margin: Positive
    warmup_epochs: Annotated[int, Field(ge=0)]


class Recipe(Settings):
    """How a method is optimised: AdamW with a step schedule."""

    learning_rate: Positive
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
    loss: HingeSettings
    recipe: Recipe

    @model_validator(mode="after")
    def _warmup_fits(self) -> MethodSettings:
        if self.loss.warmup_epochs >= self.recipe.epochs:
            raise ValueError(
                f"loss.warmup_epochs {self.loss.warmup_epochs} must be less than recipe.epochs {self.recipe.epochs}"
            )
        return self
