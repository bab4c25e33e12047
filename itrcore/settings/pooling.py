"""What a recipe may say of pooling: from a set of vectors, or of scores, to one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.strict import Count, Positive, Settings


class GPOSettings(Settings):
    """Generalized pooling operator (VSE∞): learned weights over the sorted values of each dimension."""

    kind: Literal["gpo"]
    code_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    hidden_dim: Count
    temperature: Positive


class MeanSettings(Settings):
    """Mean pooling (VSE++ on regions)."""

    kind: Literal["mean"]


class LSESettings(Settings):
    """SCAN's LogSumExp pooling: `log Σ exp(scale · x) / scale`."""

    kind: Literal["lse"]
    scale: Positive
