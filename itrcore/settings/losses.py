"""What `loss:` in a recipe may say. `itrcore/registry.py` names the class of each kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.strict import Count, Positive, Settings, Share


class LossBase(Settings):
    """Any loss."""

    kind: str

    @property
    def compared(self) -> LossBase:
        """The loss on similarities: this one, or the one that it is built around."""
        return self


class WarmedSettings(LossBase):
    """A loss that is another, milder one for the first `warmup_epochs`."""

    warmup_epochs: Annotated[int, Field(ge=0)]


class TripletSettings(WarmedSettings):
    """A triplet loss with a margin; all negatives count in the warm-up, then the hardest one alone."""

    margin: Positive


class HingeSettings(TripletSettings):
    """Hinge triplet loss (VSE++): one view of each image and caption."""

    kind: Literal["hinge"]


class SelfExpandingSettings(TripletSettings):
    """Self-expanding triplet loss (ESA): any number of views; of one view it is the hinge triplet loss."""

    kind: Literal["self_expanding"]


class ScaledSettings(LossBase):
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
    """Binary cross-entropy of each pair: it matches or not (SigLIP).

    initial_bias: where the learned bias starts; None where it comes with the method's pretrained weights, as SigLIP's does
    """

    kind: Literal["sigmoid"]
    initial_bias: float | None = None


class DiversitySettings(WarmedSettings):
    """Diversity-sensitive loss (CODER): each negative is weighted by its score and by how the others lie.

    scale: μ, how much the highest negatives outweigh the others; threshold: γ, the score where a negative begins to count
    warmup_scale: the inverse of the temperature of InfoNCE, which the loss is in the warm-up
    """

    kind: Literal["diversity"]
    scale: Positive
    threshold: float
    warmup_scale: Positive


class ClusterSettings(Settings):
    """Online clusters of instance vectors, whose labels the concept vectors predict (CODER).

    number: clusters; update: the share by which a centre moves to the mean of its members at each step
    sharpness: what similarities to centres are divided by before the balanced assignment; iterations: of that assignment
    labels: whose clusters a concept vector predicts, of its own modality or of the other one
    temperature: of the prediction; weight: β, of the term in the loss
    """

    number: Annotated[int, Field(ge=2)]
    update: Annotated[float, Field(gt=0.0, le=1.0)]
    sharpness: Positive
    iterations: Count
    labels: Literal["own", "other"]
    temperature: Positive
    weight: Positive


class MomentumSettings(LossBase):
    """A loss against queues of earlier vectors, made by encoders that follow those in training (MoCo), and within the batch.

    momentum: the share that the following encoders keep at each step
    queue: pairs that are kept; 0: no queue, the loss within the batch alone
    batch_weight: of the loss within the batch; that against the queue has weight 1
    """

    kind: Literal["momentum_contrast"]
    loss: Annotated[HingeSettings | SymmetricSettings | DiversitySettings, Field(discriminator="kind")]
    momentum: Share
    queue: Annotated[int, Field(ge=0)]
    batch_weight: Positive
    clusters: ClusterSettings | None = None

    @property
    def compared(self) -> LossBase:
        """The one that is used against the queue and within the batch."""
        return self.loss


LossSettings = Annotated[
    HingeSettings | SelfExpandingSettings | SymmetricSettings | SigmoidSettings | DiversitySettings | MomentumSettings,
    Field(discriminator="kind"),
]
