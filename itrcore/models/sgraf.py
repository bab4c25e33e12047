"""SGRAF's two halves: similarity graph reasoning (SGR) and similarity attention filtration (SAF) (AAAI 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from itrcore.data.batches import ImageBatch, TextBatch
from itrcore.data.inputs import RegionInput
from itrcore.models.alignment import AlignmentMeasure, WholeImage, WholeVector, with_whole
from itrcore.models.base import Attends, Encoded
from itrcore.models.encoders import LinearRegionEncoder, word_encoder
from itrcore.models.hinge import HingeMethod
from itrcore.models.image import ImageInputs
from itrcore.models.settings import HingeSettings, SGRAFSettings
from itrcore.models.text import TextInputs


class AlignmentMethod(HingeMethod, Attends):
    """Encoded items are their whole vector and their regions or words; similarity is the measure of their alignments.

    A class of this kind sets both encoders, `regions` and `words`, what makes their whole vectors, and the measure.
    """

    words: nn.Module
    region_pooling: WholeImage
    word_pooling: WholeVector
    measure: AlignmentMeasure

    def encode_images(self, batch: ImageBatch) -> Encoded:
        """A set per image: its whole vector, then its regions, (all sets, d), each of unit length."""
        regions, lengths = self.regions(batch)
        return with_whole(regions, lengths, self.region_pooling)

    def encode_texts(self, batch: TextBatch) -> Encoded:
        """A set per caption: its whole vector, then its words, (all sets, d), each of unit length."""
        return with_whole(self.words(batch), batch.lengths, self.word_pooling)

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        """All pairs of two blocks, (n_images, n_texts) float32."""
        return self.measure(images, texts)  # type: ignore[no-any-return]

    def attention(self, image: Encoded, text: Encoded) -> Tensor:
        """How much each word of a caption attends to each region of an image: (words, regions), rows sum to 1."""
        return self.measure.attention(image, text)


class SGRAF(AlignmentMethod):
    """SGR or SAF: a linear layer on each region, an encoder of words. Published figures are of both in an ensemble."""

    def __init__(self, settings: SGRAFSettings, loss: HingeSettings, image: ImageInputs, text: TextInputs) -> None:
        super().__init__(loss)
        assert image.width is not None
        self.input = RegionInput(regions=settings.ranked_regions)
        self.regions = LinearRegionEncoder(image.width, settings.dim)
        self.words = word_encoder(text, settings.dim, settings.text)
        self.region_pooling = WholeImage(settings.dim, settings.dropout, settings.ranked_regions)
        self.word_pooling = WholeVector(settings.dim, settings.dropout)
        self.measure = AlignmentMeasure(settings, settings.module)
