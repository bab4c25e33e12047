"""What recipes of SCAN may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.methods import CrossSettings
from itrcore.settings.pooling import LSESettings, MeanSettings


class SCANSettings(CrossSettings):
    """SCAN: words attend to regions (t2i) or regions to words (i2t).

    pooling: of the cosines of words, or regions, with what they attend to
    """

    kind: Literal["scan"]
    direction: Literal["t2i", "i2t"]
    pooling: Annotated[LSESettings | MeanSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """Its four variants differ in direction and pooling."""
        return f"scan_{self.direction}_{'lse' if isinstance(self.pooling, LSESettings) else 'avg'}"

    @property
    def attends(self) -> bool:
        """Words attend to regions in direction t2i alone."""
        return self.direction == "t2i"
