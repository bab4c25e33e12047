"""What is said of words that look at regions: the records of `explained.json`, for reports as for those that write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = "explained.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Look(_Record):
    """How strongly a word looks at one region: its number, from 0, and its share of the word's attention."""

    region: Annotated[int, Field(ge=0)]
    weight: Annotated[float, Field(ge=0, le=1.001)]


class Word(_Record):
    """A word and the regions that it looks at most, strongest first. named: whether it may name something in the picture."""

    text: str
    named: bool
    looks: Annotated[tuple[Look, ...], Field(min_length=1)]


class Explanation(_Record):
    """A caption and a picture. boxes: of each region x1, y1, x2, y2, in pixels of the picture as stored."""

    caption: str
    image_id: int
    file_name: str | None
    boxes: Annotated[tuple[tuple[float, float, float, float], ...], Field(min_length=1)]
    words: tuple[Word, ...]

    @model_validator(mode="after")
    def _every_region_has_a_box(self) -> Explanation:
        if any(look.region >= len(self.boxes) for word in self.words for look in word.looks):
            raise ValueError("a word looks at a region that has no box")
        return self


class Explained(_Record):
    """explained.json. text_to_image: of each such query of retrieved.json, in order, the caption with its own picture and,
    where another was found before it, with that one."""

    text_to_image: tuple[tuple[Explanation, ...], ...]
