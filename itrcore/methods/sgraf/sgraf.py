"""SGRAF's two halves: similarity graph reasoning (SGR) and similarity attention filtration (SAF) (AAAI 2021)."""

from __future__ import annotations

from torch import Tensor

from itrcore.assets.regions import Regions
from itrcore.assets.text import WordSource
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.image_inputs import RegionInput
from itrcore.layers.encoded import Sets
from itrcore.layers.image_encoders import ImageEncoder, LinearRegionEncoder
from itrcore.layers.text_encoders import WordEncoder
from itrcore.methods.contract import Attends, Method
from itrcore.methods.sgraf.alignment import AlignmentMeasure
from itrcore.methods.sgraf.settings import (
    AlignmentSettings,
    FiltrationSettings,
    ReasoningSettings,
    SGRAFSettings,
)
from itrcore.methods.sgraf.whole_vector import WholeImage, WholeVector, with_whole


class AlignmentMethod(Method[RegionBatch, Sets], Attends):
    """An encoded item is the set of its whole vector and its regions or words; similarity measures how two sets align."""

    def __init__(
        self,
        settings: AlignmentSettings,
        regions: ImageEncoder,
        words: WordEncoder,
        module: ReasoningSettings | FiltrationSettings,
    ) -> None:
        """regions, words: the encoders of both sides; module: what pools a pair's alignments"""
        super().__init__()
        self.input = RegionInput(regions=settings.ranked_regions)
        self.regions, self.words = regions, words
        self.region_pooling = WholeImage(settings.dim, settings.dropout, settings.ranked_regions)
        self.word_pooling = WholeVector(settings.dim, settings.dropout)
        self.measure = AlignmentMeasure(settings, module)

    def encode_images(self, batch: RegionBatch) -> Sets:
        """A set per image: its whole vector, then its regions, (sum of lengths, d), each of unit length."""
        regions, lengths = self.regions(batch)
        return with_whole(regions, lengths, self.region_pooling)

    def encode_texts(self, batch: TextBatch) -> Sets:
        """A set per caption: its whole vector, then its words, (sum of lengths, d), each of unit length."""
        return with_whole(self.words(batch), batch.lengths, self.word_pooling)

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        """All pairs of two blocks, (n_images, n_texts) float32."""
        return self.measure(images, texts)  # type: ignore[no-any-return]

    def attention(self, image: Sets, text: Sets) -> Tensor:
        """How much each word of a caption attends to each region of an image: (words, regions), rows sum to 1."""
        return self.measure.attention(image, text)


class SGRAF(AlignmentMethod):
    """SGR or SAF: a linear layer on each region, and an encoder of words. The published figures are of an ensemble of both."""

    def __init__(self, settings: SGRAFSettings, image: Regions, text: WordSource) -> None:
        regions, words = LinearRegionEncoder(image.width, settings.dim), text.encoder(settings.dim)
        super().__init__(settings, regions, words, settings.module)
