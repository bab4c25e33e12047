"""LHSC: hierarchical semantic correspondences (ICMR 2022): relations on both sides, then SAF's similarity."""

from __future__ import annotations

from itrcore.assets.regions import Regions
from itrcore.assets.words import BiGRUSource
from itrcore.methods.sgraf.graph import GraphRegionEncoder
from itrcore.methods.sgraf.settings import FiltrationSettings, LHSCSettings
from itrcore.methods.sgraf.sgraf import AlignmentMethod
from itrcore.methods.sgraf.word_attention import WordAttentionEncoder

_RELEASED_BATCH = 100  # captions, in the released evaluation, whatever its options say


class LHSC(AlignmentMethod):
    """Graph layers on the regions, attention layers between the words before their GRU; similarity as SAF's.

    The paper names three levels of relations (object, object-relational, higher); neither it nor the released code says
    which of the layers is which.
    """

    def __init__(self, settings: LHSCSettings, image: Regions, text: BiGRUSource) -> None:
        regions = GraphRegionEncoder(image.width, settings.dim, settings.layers, settings.heads)
        words = WordAttentionEncoder(
            text.n_tokens, settings.dim, text.settings, text.vectors, settings.layers, settings.padding
        )
        super().__init__(settings, regions, words, FiltrationSettings(kind="saf", gate_norm=settings.gate_norm))
        self.captions_together = _RELEASED_BATCH if settings.padding == "released" else None
