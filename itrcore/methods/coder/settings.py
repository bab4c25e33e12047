"""What recipes of CODER may say."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from itrcore.settings.methods import SetSettings
from itrcore.settings.pooling import GPOSettings
from itrcore.settings.strict import Count, Positive, Settings

_Inside = Annotated[float, Field(gt=0.0, lt=1.0)]


class AlphaOnDev(Settings):
    """An α that each evaluation on dev chooses.

    step: between the values to choose among, which begin with it and end before 1
    near: the usual value, from which a training starts; of values with the same rsum the nearest to it is chosen
    """

    kind: Literal["dev"]
    step: _Inside
    near: _Inside

    @property
    def values(self) -> list[float]:
        """The nearest to `near` first; of two as near the higher one, which is nearer to the instance branch alone."""
        values = [round(number * self.step, 9) for number in range(1, math.ceil(1 / self.step))]
        return sorted(values, key=lambda value: (round(abs(value - self.near), 9), -value))


def _form(value: Any) -> str:
    return "a number" if isinstance(value, int | float) else "chosen"


class CODERSettings(SetSettings):
    """CODER: VSE∞'s vectors, and beside them the concepts that they find.

    graph_dim: the width between the two layers over the graph of concepts
    attention_scale: what similarities to concepts are multiplied by before the softmax
    alpha: the weight of the instance branch in the similarity, or how dev chooses it; the rest is the concept branch's
    """

    kind: Literal["coder"]
    pooling: GPOSettings
    graph_dim: Count
    attention_scale: Positive
    alpha: Annotated[Annotated[_Inside, Tag("a number")] | Annotated[AlphaOnDev, Tag("chosen")], Discriminator(_form)]

    @property
    def chosen_on_dev(self) -> tuple[str, ...]:
        """α, where it is not a number."""
        return ("alpha",) if isinstance(self.alpha, AlphaOnDev) else ()

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
