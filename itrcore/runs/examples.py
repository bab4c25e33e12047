"""The records of retrieved.json and explained.json: what was retrieved for some queries, and why."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrcore.runs.records import Record


class RankedCaption(Record):
    """One caption returned for a query image."""

    caption: str
    score: float
    correct: bool


class RankedImage(Record):
    """One image returned for a query caption."""

    image_id: int
    file_name: str | None
    score: float
    correct: bool


class ImageQuery(Record):
    """A query image, the rank of its first right caption (from 1), what came first, and all its right captions."""

    image_id: int
    file_name: str | None
    rank: Annotated[int, Field(ge=1)]
    retrieved: tuple[RankedCaption, ...]
    captions: tuple[str, ...]
    kind: Literal["good", "bad"]


class CaptionQuery(Record):
    """A query caption, the rank (from 1) and identity of its right image, and what came first."""

    caption: str
    rank: Annotated[int, Field(ge=1)]
    image_id: int
    file_name: str | None
    retrieved: tuple[RankedImage, ...]
    kind: Literal["good", "bad"]


class Retrieved(Record):
    """retrieved.json: the queries that the report shows."""

    image_to_text: tuple[ImageQuery, ...]
    text_to_image: tuple[CaptionQuery, ...]


class Look(Record):
    """How strongly a word looks at one region: its number, from 0, and its share of the word's attention."""

    region: Annotated[int, Field(ge=0)]
    weight: Annotated[float, Field(ge=0, le=1.001)]


class Word(Record):
    """A word and the regions that it looks at most, strongest first. named: whether it may name something in the picture"""

    text: str
    named: bool
    looks: Annotated[tuple[Look, ...], Field(min_length=1)]


class Explanation(Record):
    """Where the words of a caption look in a picture. boxes: x1, y1, x2, y2 of each region, in pixels of the stored picture"""

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


class Explained(Record):
    """explained.json.

    text_to_image: for each such query of retrieved.json, in order, its caption with its own picture and, if another picture
        came first, with that one
    """

    text_to_image: tuple[tuple[Explanation, ...], ...]
