"""LHSC: hierarchical semantic correspondences (ICMR 2022): relations on both sides, then SAF's similarity."""

from __future__ import annotations

from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.data.image_inputs import RegionInput
from itrcore.methods.sgraf.alignment import AlignmentMeasure
from itrcore.methods.sgraf.graph import GraphRegionEncoder
from itrcore.methods.sgraf.settings import FiltrationSettings, LHSCSettings
from itrcore.methods.sgraf.sgraf import AlignmentMethod
from itrcore.methods.sgraf.whole_vector import WholeImage, WholeVector
from itrcore.methods.sgraf.word_attention import WordAttentionEncoder

_RELEASED_BATCH = 100  # captions, in the released evaluation, whatever its options say


class LHSC(AlignmentMethod):
    """Graph layers on the regions, attention layers between the words before their GRU; similarity as SAF's.

    The paper names three levels of relations (object, object-relational, higher); neither it nor the released code says
    which of the layers is which.
    """

    def __init__(self, settings: LHSCSettings, image: Regions, text: BiGRUSource) -> None:
        super().__init__()
        self.input = RegionInput(regions=settings.ranked_regions)
        self.captions_together = _RELEASED_BATCH if settings.padding == "released" else None
        self.regions = GraphRegionEncoder(image.width, settings.dim, settings.layers, settings.heads)
        self.words = WordAttentionEncoder(
            text.n_tokens, settings.dim, text.settings, text.vectors, settings.layers, settings.padding
        )
        self.region_pooling = WholeImage(settings.dim, settings.dropout, settings.ranked_regions)
        self.word_pooling = WholeVector(settings.dim, settings.dropout)
        self.measure = AlignmentMeasure(settings, FiltrationSettings(kind="saf"))
