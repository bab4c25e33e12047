"""ESA: external space attention aggregation with the self-expanding triplet loss (TCSVT 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.data.batches import Batch, ImageBatch, TextBatch, Views
from itrcore.losses import self_expanding_triplet
from itrcore.models.base import EmbeddingMethod, Encoded, Losses, Progress
from itrcore.models.encoders import BertEncoder, l2, length_mask, word_encoder, xavier
from itrcore.models.hinge import HingeMethod
from itrcore.models.image import ImageInputs
from itrcore.models.pooling import ExternalSpaceAttention
from itrcore.models.settings import ESASettings, HingeSettings
from itrcore.models.text import TextInputs


class ESA(HingeMethod, EmbeddingMethod):
    """Both sides: encoder → attention pooling per dimension → l2; similarity is the inner product.

    In training each image gives `views` random region masks over the same encoded regions, and each caption `views`
    token sequences touched at random.
    """

    def __init__(self, settings: ESASettings, loss: HingeSettings, image: ImageInputs, text: TextInputs) -> None:
        super().__init__(loss)
        self.region_drop = settings.region_drop
        self.input = image.input(0.0)
        self.views = Views(captions=settings.views, tokens=settings.token_views, ids=text.ids)
        self.regions = image.encoder(settings.dim, 0.0)
        self.region_pooling = ExternalSpaceAttention(settings.dim)
        self.words = word_encoder(text, settings.dim, settings.text)
        self.word_pooling = ExternalSpaceAttention(settings.dim)
        xavier(self.region_pooling.linear)
        # With BiGRU the released code leaves the captions' attention as torch starts it.
        if isinstance(self.words, BertEncoder):
            xavier(self.words.linear)
            xavier(self.word_pooling.linear)

    def encode_images(self, batch: ImageBatch) -> Encoded:
        """(n, d) unit vectors, all regions shown."""
        features, lengths = self.regions(batch)
        return Encoded(self._pool_regions(features, self._valid(features, lengths)[:, None]))

    def encode_texts(self, batch: TextBatch) -> Encoded:
        """(m, d) unit vectors."""
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device)
        return Encoded(l2(self.word_pooling(self.words(batch), mask[:, None])).flatten(0, 1))

    def loss(self, batch: Batch, progress: Progress) -> Losses:
        """Self-expanding triplet loss over the views; all negatives in the warm-up epochs, then the hardest."""
        features, lengths = self.regions(batch.images)
        valid = self._valid(features, lengths)[:, None]
        shape = (len(valid), self.views.captions, valid.shape[2])
        shown = valid & (torch.rand(shape, device=valid.device) >= self.region_drop)
        images = Encoded(self._pool_regions(features, shown))
        scores = self.similarity(images, self.encode_texts(batch.texts))
        loss = self_expanding_triplet(scores, self.views.captions, self.hinge.margin, self.hardest(progress))
        return Losses({"self_expanding": loss}, {"self_expanding": self.regions.loss_weight(progress)})

    def _valid(self, features: Tensor, lengths: Tensor) -> Tensor:
        return length_mask(lengths, features.shape[1], features.device)

    def _pool_regions(self, features: Tensor, shown: Tensor) -> Tensor:
        """features: (n, k, d); shown: (n, v, k) → (n · v, d) unit vectors, the views of an image adjacent."""
        return l2(self.region_pooling(features, shown)).flatten(0, 1)
