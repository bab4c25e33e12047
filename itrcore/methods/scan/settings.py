"""What recipes of SCAN may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.methods import CrossSettings
from itrcore.settings.pooling import LSESettings, MeanSettings


class SCANSettings(CrossSettings):
    """SCAN: words attend to regions (t2i) or regions to words (i2t).

    pooling: of the words' or regions' agreement with what they attend to
    """

    kind: Literal["scan"]
    direction: Literal["t2i", "i2t"]
    pooling: Annotated[LSESettings | MeanSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """Direction and pooling tell its four variants apart."""
        return f"scan_{self.direction}_{'lse' if isinstance(self.pooling, LSESettings) else 'avg'}"

    @property
    def attends(self) -> bool:
        """Words do in one of the two directions."""
        return self.direction == "t2i"
