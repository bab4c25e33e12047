"""VSE++ (BMVC 2018, mean pooling on regions) and VSE∞ (CVPR 2021, generalized pooling operator)."""

from __future__ import annotations

from itrcore.assets.image import SetImages
from itrcore.assets.text import WordSource
from itrcore.data.feeding.batches import ImageBatch, TextBatch
from itrcore.layers.basics import l2
from itrcore.layers.encoded import Vectors
from itrcore.layers.pooling import set_pooling
from itrcore.methods.contract import EmbeddingMethod, SetMethod
from itrcore.methods.vse.settings import VSESettings


class VSE(SetMethod[ImageBatch, Vectors], EmbeddingMethod[ImageBatch]):
    """Both sides: encoder → pooling → l2; similarity is the inner product."""

    def __init__(self, settings: VSESettings, image: SetImages, text: WordSource) -> None:
        super().__init__()
        self.input = image.input(settings.region_drop)
        self.regions = image.encoder(settings.dim, settings.region_drop)
        self.region_pooling = set_pooling(settings.pooling)
        self.words = text.encoder(settings.dim)
        self.word_pooling = set_pooling(settings.pooling)

    def encode_images(self, batch: ImageBatch) -> Vectors:
        """(n, d) unit vectors."""
        return Vectors(l2(self.region_pooling(*self.regions(batch))))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        """(m, d) unit vectors."""
        return Vectors(l2(self.word_pooling(self.words(batch), batch.lengths)))
