"""What a training minimises: a method with a loss. The step of every training is written here: encode, score, loss."""

from __future__ import annotations

from typing import Any

from torch import nn

from itrcore import registry
from itrcore.data.feeding.batches import Batch
from itrcore.layers import together
from itrcore.layers.losses.contract import Loss, Losses, Similarities
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.settings.methods import MethodSettings


class Objective(nn.Module):
    """A method and a loss on its similarities. Parameters of the loss are trained too, but no run's weights hold them."""

    def __init__(self, method: Method[Any, Any], loss: Loss) -> None:
        super().__init__()
        self.method, self.loss = method, loss

    @classmethod
    def of(cls, settings: MethodSettings, method: Method[Any, Any]) -> Objective:
        """The method with the loss that its recipe chooses. `ValueError` where it does not fit the method."""
        similarities, compared = (
            Similarities(settings.model.n_views, method.log_scale, method.bias),
            settings.loss.compared,
        )
        loss = registry.load(registry.LOSSES[compared.kind])(compared, similarities)
        if place := registry.OBJECTIVES.get(settings.loss.kind):
            objective: Objective = registry.load(place)(method, loss, settings)
            return objective
        return cls(method, loss)

    def forward(self, batch: Batch, progress: Progress) -> Losses:
        """The loss of one batch of matching pairs: named scalar terms of all its pairs, and their weight.

        batch: where several processes train together, this one's share; the loss is that of the whole batch
        """
        images = self.method.image_views(batch.images)
        texts = self.method.encode_texts(batch.texts)
        scores = together.gather(self.method.similarity(images, texts.gathered()))
        return Losses(self.loss(scores, progress), self.method.loss_weight(progress))

    def constant(self, n: int, progress: Progress) -> float | None:
        """The sum of the unweighted terms of n pairs whose similarities are all the same; None as for a loss."""
        return self.loss.constant(n, progress)

    def inner(self, images: Any, texts: Any) -> dict[str, float]:
        """As the method's `inner`, with figures of what belongs to the training alone. images, texts: both sides of dev, encoded"""
        return self.method.inner(images, texts)

    def after_step(self) -> None:
        """Called after each step of the optimiser."""
        self.loss.after_step()
