"""What `loss:` in a recipe may say. `itrcore/registry.py` names the class of each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.strict import Positive, Settings


class TripletSettings(Settings):
    """A triplet loss with a margin; all negatives count for `warmup_epochs`, then the hardest one alone."""

    margin: Positive
    warmup_epochs: Annotated[int, Field(ge=0)]


class HingeSettings(TripletSettings):
    """Hinge triplet loss (VSE++): one view of each image and caption."""

    kind: Literal["hinge"]


class SelfExpandingSettings(TripletSettings):
    """Self-expanding triplet loss (ESA): any number of views; of one view it is the hinge triplet loss."""

    kind: Literal["self_expanding"]


class ScaledSettings(Settings):
    """A loss on similarities times a learned scale, the inverse of a temperature.

    initial_scale: None where the method brings a scale with its pretrained weights, as CLIP does
    max_scale: training keeps the scale at or below it
    """

    initial_scale: Positive | None = None
    max_scale: Positive


class SymmetricSettings(ScaledSettings):
    """Cross-entropy of the right match in each row and each column (CLIP)."""

    kind: Literal["symmetric"]


class SigmoidSettings(ScaledSettings):
    """Binary cross-entropy of each pair: it matches or not (SigLIP). initial_bias: where the learned bias starts."""

    kind: Literal["sigmoid"]
    initial_bias: float


LossSettings = Annotated[
    HingeSettings | SelfExpandingSettings | SymmetricSettings | SigmoidSettings, Field(discriminator="kind")
]
