"""ESL: enhanced semantic similarity learning, every word against every region, level by level (TCSVT 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.data.batches import ImageBatch, TextBatch, Views
from itrcore.models.base import Attends, Encoded
from itrcore.models.encoders import l2, word_encoder
from itrcore.models.hinge import HingeMethod
from itrcore.models.image import ImageInputs
from itrcore.models.levels import Levels
from itrcore.models.settings import ESLSettings, HingeSettings
from itrcore.models.text import TextInputs
from itrcore.models.word_region import WordRegionMeasure


class ESL(HingeMethod, Attends):
    """Both sides: encoder → l2 per region or word → levels; similarity is the word–region measure.

    Encoded images have the measure's projection in them, so that it is done once per image, not once per pair. [CLS] and
    [SEP], or <start> and <end>, are words like the others, as in the released code.
    """

    def __init__(self, settings: ESLSettings, loss: HingeSettings, image: ImageInputs, text: TextInputs) -> None:
        super().__init__(loss)
        self.input = image.input(settings.region_drop)
        self.views = Views(tokens=settings.token_views, ids=text.ids)
        self.regions = image.encoder(settings.dim, settings.region_drop)
        self.words = word_encoder(text, settings.dim, settings.text)
        form = (settings.strategy, settings.dim, settings.levels, settings.kernel)
        self.region_levels = Levels(*form, from_normalised=True)
        self.word_levels = Levels(*form, from_normalised=False)
        self.measure = WordRegionMeasure(*form)

    def encode_images(self, batch: ImageBatch) -> Encoded:
        """A set of projected regions per image, (all regions, sum of level widths)."""
        regions = Encoded.pack(*self.regions(batch))
        with torch.autocast(regions.vectors.device.type, enabled=False):
            levels = self.region_levels(l2(regions.vectors.float()))
            return Encoded(self.measure.project(levels), regions.lengths)

    def encode_texts(self, batch: TextBatch) -> Encoded:
        """A set of words per caption, (all words, sum of level widths)."""
        words = Encoded.pack(self.words(batch), batch.lengths)
        with torch.autocast(words.vectors.device.type, enabled=False):
            return Encoded(self.word_levels(l2(words.vectors.float())), words.lengths)

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        """All pairs of two blocks, (n_images, n_texts) float32."""
        return self.measure(images, texts)  # type: ignore[no-any-return]

    def attention(self, image: Encoded, text: Encoded) -> Tensor:
        """How much each word of a caption attends to each region of an image: (words, regions), rows sum to 1."""
        return self.measure.attention(image, text)
