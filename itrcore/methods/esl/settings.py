"""What recipes of ESL may say, on regions, a grid or CLIP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.settings.encoders import CLIPSettings, TextSettings
from itrcore.settings.methods import ModelSettings, PictureSettings, SetSettings


class LevelSettings(ModelSettings):
    """ESL's measure-units: `levels` levels of features above the input, each `kernel` times narrower than the one below."""

    strategy: Literal["heuristic", "adaptive"]
    levels: Annotated[int, Field(ge=1, le=16)]
    kernel: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _levels_fit(self) -> LevelSettings:
        if self.dim % self.kernel**self.levels:
            raise ValueError(
                f"dim {self.dim} must be a multiple of kernel {self.kernel} to the power of levels {self.levels}, "
                f"{self.kernel**self.levels}"
            )
        return self

    @property
    def name(self) -> str:
        """ESL-H or ESL-A."""
        return f"esl_{self.strategy[0]}"


class ESLSettings(LevelSettings, SetSettings):
    """ESL on sets: every word attends to every region, level by level."""

    kind: Literal["esl"]
    text: TextSettings

    @property
    def attends(self) -> bool:
        """Every word to every region."""
        return True


class ESLCLIPSettings(LevelSettings, PictureSettings):
    """ESL on one CLIP vector per image and caption."""

    kind: Literal["esl_clip"]
    text: CLIPSettings

    @property
    def vector_width(self) -> int | None:
        """One vector per item, of all levels."""
        width: int = sum(self.dim // self.kernel**level for level in range(self.levels + 1))
        return width
