"""What a training minimises: a method with a loss. The step of every training is written here: encode, score, loss."""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem
from typing import Any

import torch
from torch import nn

from itrcore import registry
from itrcore.data.feeding.batches import Batch, TextBatch
from itrcore.layers import together
from itrcore.layers.encoded import Encoded
from itrcore.layers.losses.contract import Loss, Losses, Similarities
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.methods.parts import Parts
from itrcore.settings.methods import MethodSettings


class Objective(nn.Module):
    """A method and a loss on its similarities. Parameters of the loss are trained too, but no run's weights hold them."""

    def __init__(self, method: Method[Any, Any], loss: Loss) -> None:
        super().__init__()
        self.method, self.loss, self.parts = method, loss, Parts(method)
        if method.captions_together is not None:
            self.parts.divided["texts"] = False

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
        images, texts = self.encoded(batch, self.method.image_views, self.method.encode_texts)
        every, device = texts.gathered(), images.vectors.device
        rows = self.parts.of(
            "similarity", lambda some: self.method.similarity(some, every), images, getitem, len(images), device
        )
        scores = together.gather(rows[0] if len(rows) == 1 else torch.cat(rows))
        return Losses(self.loss(scores, progress), self.method.loss_weight(progress))

    def encoded(
        self, batch: Batch, images: Callable[[Any], Encoded], texts: Callable[[TextBatch], Encoded]
    ) -> tuple[Any, Any]:
        """Both sides of a batch, whole or in parts as `parts` says. images, texts: their encoders"""
        n, device = len(batch.image_ids), batch.texts.ids.device
        sides = (
            self.parts.of("images", lambda part: images(part.images), batch, Batch.share, n, device),
            self.parts.of("texts", lambda part: texts(part.texts), batch, Batch.share, n, device),
        )
        first, second = (parts[0] if len(parts) == 1 else type(parts[0]).join(parts) for parts in sides)
        return first, second

    def constant(self, n: int, progress: Progress) -> float | None:
        """The sum of the unweighted terms of n pairs whose similarities are all the same; None as for a loss."""
        return self.loss.constant(n, progress)

    def inner(self, images: Any, texts: Any) -> dict[str, float]:
        """As the method's `inner`, with figures of what belongs to the training alone. images, texts: both sides of dev, encoded"""
        return self.method.inner(images, texts)

    def after_step(self) -> None:
        """Called after each step of the optimiser."""
        self.loss.after_step()
