"""What recipes of VSE++, VSE∞ and ESA may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.methods import SetSettings
from itrcore.settings.pooling import GPOSettings, MeanSettings
from itrcore.settings.strict import Count


class VSESettings(SetSettings):
    """VSE++ (mean pooling) and VSE∞ (GPO)."""

    kind: Literal["vse"]
    pooling: Annotated[GPOSettings | MeanSettings, Field(discriminator="kind")]

    @property
    def name(self) -> str:
        """The two differ in their pooling."""
        return "vse_infty" if isinstance(self.pooling, GPOSettings) else "vse_pp"

    @property
    def vector_width(self) -> int | None:
        """One vector per item."""
        return self.dim


class ESASettings(SetSettings):
    """ESA: external space attention aggregation over both sets, several views per item.

    region_drop: drawn anew for each view
    """

    kind: Literal["esa"]
    views: Count

    @property
    def n_views(self) -> int:
        """As `views` says."""
        return self.views

    @property
    def vector_width(self) -> int | None:
        """One vector per item."""
        return self.dim
