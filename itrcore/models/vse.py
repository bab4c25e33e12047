"""VSE++ (BMVC 2018, mean pooling on regions) and VSE∞ (CVPR 2021, generalized pooling operator)."""

from __future__ import annotations

from itrcore.data.batches import ImageBatch, TextBatch, Views
from itrcore.models.base import EmbeddingMethod, Encoded
from itrcore.models.encoders import l2, word_encoder
from itrcore.models.hinge import HingeMethod
from itrcore.models.image import ImageInputs
from itrcore.models.pooling import set_pooling
from itrcore.models.settings import HingeSettings, VSESettings
from itrcore.models.text import TextInputs


class VSE(HingeMethod, EmbeddingMethod):
    """Both sides: encoder → pooling → l2; similarity is the inner product."""

    def __init__(self, settings: VSESettings, loss: HingeSettings, image: ImageInputs, text: TextInputs) -> None:
        super().__init__(loss)
        self.input = image.input(settings.region_drop)
        self.views = Views(tokens=settings.token_views, ids=text.ids)
        self.regions = image.encoder(settings.dim, settings.region_drop)
        self.region_pooling = set_pooling(settings.pooling)
        self.words = word_encoder(text, settings.dim, settings.text)
        self.word_pooling = set_pooling(settings.pooling)

    def encode_images(self, batch: ImageBatch) -> Encoded:
        """(n, d) unit vectors."""
        return Encoded(l2(self.region_pooling(*self.regions(batch))))

    def encode_texts(self, batch: TextBatch) -> Encoded:
        """(m, d) unit vectors."""
        return Encoded(l2(self.word_pooling(self.words(batch), batch.lengths)))
