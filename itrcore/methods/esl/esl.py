"""ESL: enhanced semantic similarity learning, every word against every region, level by level (TCSVT 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from itrcore.assets.image import SetImages
from itrcore.assets.text import WordSource
from itrcore.data.feeding.batches import ImageBatch, TextBatch
from itrcore.layers.basics import l2, widened
from itrcore.layers.encoded import Sets
from itrcore.methods.contract import Attends, SetMethod
from itrcore.methods.esl.levels import Levels
from itrcore.methods.esl.settings import ESLSettings
from itrcore.methods.esl.word_region import WordRegionMeasure


class ESL(SetMethod[ImageBatch, Sets], Attends):
    """Both sides: encoder → l2 per region or word → levels; similarity is the word–region measure.

    The measure's projection is part of encoded images, so that it is computed once per image, not once per pair. [CLS] and
    [SEP], or <start> and <end>, are words like the others, as in the released code.
    """

    def __init__(self, settings: ESLSettings, image: SetImages, text: WordSource) -> None:
        super().__init__()
        self.input = image.input(settings.region_drop)
        self.regions = image.encoder(settings.dim, settings.region_drop)
        self.words = text.encoder(settings.dim)
        form = (settings.strategy, settings.dim, settings.levels, settings.kernel)
        self.region_levels = Levels(*form, from_normalised=True)
        self.word_levels = Levels(*form, from_normalised=False)
        self.measure = WordRegionMeasure(*form)

    def encode_images(self, batch: ImageBatch) -> Sets:
        """A set of projected regions per image, (all regions, sum of level widths)."""
        regions = Sets.pack(*self.regions(batch))
        with torch.autocast(regions.vectors.device.type, enabled=False):
            levels = self.region_levels(l2(widened(regions.vectors)))
            return Sets(self.measure.project(levels), regions.lengths)

    def encode_texts(self, batch: TextBatch) -> Sets:
        """A set of words per caption, (all words, sum of level widths)."""
        words = Sets.pack(self.words(batch), batch.lengths)
        with torch.autocast(words.vectors.device.type, enabled=False):
            return Sets(self.word_levels(l2(widened(words.vectors))), words.lengths)

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        """All pairs of two blocks, (n_images, n_texts) float32."""
        return self.measure(images, texts)  # type: ignore[no-any-return]

    def attention(self, image: Sets, text: Sets) -> Tensor:
        """How much each word of a caption attends to each region of an image: (words, regions), rows sum to 1."""
        return self.measure.attention(image, text)
