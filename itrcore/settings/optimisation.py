"""What `recipe:` in a recipe may say: how a method is optimised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.settings.strict import Count, Positive, Settings, Share


class StepSchedule(Settings):
    """The learning rate is multiplied by `factor` after each of these numbers of epochs."""

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


class OptimisationSettings(Settings):
    """How a method is optimised.

    optimiser: adamw and adam are torch's; adamw_bert has BERT's ε, 1e-6 added before the second moment is corrected
    weight_decay: adamw and adamw_bert take it off the weights, adam adds it to the gradients
    epochs: 0 trains nothing, for a method whose pretrained weights are all of it (zero-shot)
    evaluations: how often an epoch is evaluated on dev, evenly spread, the last time at its end; the best weights are kept
    """

    optimiser: Literal["adam", "adamw", "adamw_bert"]
    learning_rate: Positive
    factors: dict[Literal["bert", "clip", "backbone", "graph"], Positive] = Field(
        default_factory=dict
    )  # of the learning rate
    weight_decay: Annotated[float, Field(ge=0.0)]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Annotated[int, Field(ge=0)]
    evaluations: Count
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="kind")]
    clip_norm: Positive

    @model_validator(mode="after")
    def _schedule_fits(self) -> OptimisationSettings:
        steps = self.schedule.epochs if isinstance(self.schedule, StepSchedule) else []
        if steps and steps[-1] >= self.epochs:
            raise ValueError(
                f"schedule.epochs {steps} reach past the last of {self.epochs} epochs; lower them or raise epochs "
                "(a profile that shortens epochs must say schedule.epochs too)"
            )
        return self
