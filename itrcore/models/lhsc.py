"""LHSC: hierarchical semantic correspondences (ICMR 2022): relations on both sides, then SAF's similarity."""

from __future__ import annotations

from itrcore.data.inputs import RegionInput
from itrcore.models.alignment import AlignmentMeasure, WholeImage, WholeVector
from itrcore.models.graph import GraphRegionEncoder
from itrcore.models.image import ImageInputs
from itrcore.models.settings import FiltrationSettings, HingeSettings, LHSCSettings
from itrcore.models.sgraf import AlignmentMethod
from itrcore.models.text import TextInputs
from itrcore.models.word_attention import WordAttentionEncoder

_RELEASED_BATCH = 100  # captions, in the released evaluation, whatever its options say


class LHSC(AlignmentMethod):
    """Graph layers on the regions, attention layers between the words before their GRU; similarity as SAF's.

    The paper names three levels of relations (object, object-relational, higher); neither it nor the released code says
    which of the layers is which.
    """

    def __init__(self, settings: LHSCSettings, loss: HingeSettings, image: ImageInputs, text: TextInputs) -> None:
        super().__init__(loss)
        assert image.width is not None
        self.input = RegionInput(regions=settings.ranked_regions)
        self.captions_together = _RELEASED_BATCH if settings.padding == "released" else None
        self.regions = GraphRegionEncoder(image.width, settings.dim, settings.layers, settings.heads)
        self.words = WordAttentionEncoder(text, settings.dim, settings.text, settings.layers, settings.padding)
        self.region_pooling = WholeImage(settings.dim, settings.dropout, settings.ranked_regions)
        self.word_pooling = WholeVector(settings.dim, settings.dropout)
        self.measure = AlignmentMeasure(settings, FiltrationSettings(kind="saf"))
