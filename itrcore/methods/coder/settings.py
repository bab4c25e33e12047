"""What recipes of CODER may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from itrcore.settings.methods import SetSettings
from itrcore.settings.pooling import GPOSettings
from itrcore.settings.strict import Count, Positive


class CODERSettings(SetSettings):
    """CODER: VSE∞'s vectors, and beside them the concepts that they find.

    graph_dim: the width between the two layers over the graph of concepts
    attention_scale: what similarities to concepts are multiplied by before the softmax
    alpha: the weight of the instance branch in the similarity; the rest is the concept branch's
    """

    kind: Literal["coder"]
    pooling: GPOSettings
    graph_dim: Count
    attention_scale: Positive
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)]

    @property
    def vector_width(self) -> int | None:
        """Both branches."""
        return 2 * self.dim

    @property
    def concepts(self) -> bool:
        """The graph's."""
        return True

    @property
    def reconstructed(self) -> bool:
        """From the abstract and the nearest published methods."""
        return True

    @property
    def parts(self) -> set[str]:
        """The graph beside the encoders."""
        return super().parts | {"graph"}
