"""ESA: external space attention aggregation, trained on several views of each image and caption (TCSVT 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.assets.image import SetImages
from itrcore.assets.text import WordSource
from itrcore.data.feeding.batches import ImageBatch, TextBatch
from itrcore.layers.basics import l2, length_mask, xavier
from itrcore.layers.encoded import Vectors
from itrcore.layers.pooling import ExternalSpaceAttention
from itrcore.layers.text_encoders import BertEncoder
from itrcore.methods.contract import EmbeddingMethod, SetMethod
from itrcore.methods.vse.settings import ESASettings


class ESA(SetMethod[ImageBatch, Vectors], EmbeddingMethod[ImageBatch]):
    """Both sides: encoder → attention pooling per dimension → l2; similarity is the inner product.

    In training an image has `views` random masks over its encoded regions, and a caption `views` token sequences changed at
    random.
    """

    def __init__(self, settings: ESASettings, image: SetImages, text: WordSource) -> None:
        super().__init__()
        self.region_drop, self.n_views = settings.region_drop, settings.views
        self.input = image.input(0.0)
        self.regions = image.encoder(settings.dim, 0.0)
        self.region_pooling = ExternalSpaceAttention(settings.dim)
        self.words = text.encoder(settings.dim)
        self.word_pooling = ExternalSpaceAttention(settings.dim)
        xavier(self.region_pooling.linear)
        # With BiGRU the released code leaves the captions' attention as torch draws it.
        if isinstance(self.words, BertEncoder):
            xavier(self.words.linear)
            xavier(self.word_pooling.linear)

    def encode_images(self, batch: ImageBatch) -> Vectors:
        """(n, d) unit vectors, of all regions."""
        features, lengths = self.regions(batch)
        return Vectors(self._pool_regions(features, self._valid(features, lengths)[:, None]))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        """(m, d) unit vectors."""
        mask = length_mask(batch.lengths, batch.ids.shape[1], batch.ids.device)
        return Vectors(l2(self.word_pooling(self.words(batch), mask[:, None])).flatten(0, 1))

    def image_views(self, batch: ImageBatch) -> Vectors:
        """(n · views, d) unit vectors, of the regions that the random mask of each view leaves."""
        features, lengths = self.regions(batch)
        valid = self._valid(features, lengths)[:, None]
        shape = (len(valid), self.n_views, valid.shape[2])
        shown = valid & (torch.rand(shape, device=valid.device) >= self.region_drop)
        return Vectors(self._pool_regions(features, shown))

    def _valid(self, features: Tensor, lengths: Tensor) -> Tensor:
        return length_mask(lengths, features.shape[1], features.device)

    def _pool_regions(self, features: Tensor, shown: Tensor) -> Tensor:
        """features: (n, k, d); shown: (n, v, k) → (n · v, d) unit vectors, the views of an image adjacent"""
        return l2(self.region_pooling(features, shown)).flatten(0, 1)
