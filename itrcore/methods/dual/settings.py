"""What recipes of dual encoders may say."""

from __future__ import annotations

from typing import Literal

from itrcore.settings.encoders import TowersSettings
from itrcore.settings.methods import PictureSettings


class DualSettings(PictureSettings):
    """A published dual encoder. dim: of the vectors that both of its towers end in"""

    kind: Literal["dual"]
    text: TowersSettings

    @property
    def family(self) -> str:
        """By the weights that it starts from: each is a model of its own, with published figures of its own."""
        return f"{self.name} {self.text.weights}"

    @property
    def whole(self) -> bool:
        """Both towers and their projections."""
        return True

    @property
    def vector_width(self) -> int | None:
        """One vector per item."""
        return self.dim
