"""Methods that learn by a hinge loss on their own similarity: what their classes share."""

from __future__ import annotations

from itrcore.data.batches import Batch
from itrcore.losses import hinge_triplet
from itrcore.models.base import Losses, Method, Progress
from itrcore.models.encoders import ImageEncoder
from itrcore.models.settings import HingeSettings


class HingeMethod(Method):
    """A method with the hinge triplet loss, or with one of its kind in a `loss` of its own.

    A class of this kind calls `super().__init__(loss)` and sets `regions`, its image encoder. One whose similarity is an
    inner product names this class first: `class Name(HingeMethod, EmbeddingMethod)`.
    """

    regions: ImageEncoder

    def __init__(self, loss: HingeSettings) -> None:
        super().__init__()
        self.hinge = loss

    def begin_epoch(self, epoch: int) -> None:
        """A grid's backbone is opened in stages."""
        self.regions.begin_epoch(epoch)

    def loss(self, batch: Batch, progress: Progress) -> Losses:
        """Hinge triplet loss; all negatives in the warm-up epochs, then the hardest."""
        scores = self.similarity(self.encode_images(batch.images), self.encode_texts(batch.texts))
        loss = hinge_triplet(scores, self.hinge.margin, self.hardest(progress))
        return Losses({"hinge": loss}, {"hinge": self.regions.loss_weight(progress)})

    def hardest(self, progress: Progress) -> bool:
        """Whether the warm-up epochs, with all negatives, are over."""
        return progress.epoch >= self.hinge.warmup_epochs
