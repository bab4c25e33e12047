"""What goes in and out of the API, as its schema (`/api/openapi.json`) says it."""

from __future__ import annotations

from typing import Annotated
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from itrcore.serving.limits import BEST, TEXT


class Body(BaseModel):
    """Strictly typed; keys that are not known are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _plain(text: str) -> str:
    """White space is one blank. `ValueError` where nothing is left, or something that cannot be seen is in it."""
    plain = " ".join(text.split())
    if not plain:
        raise ValueError("no words in it")
    if any(category(character) in ("Cc", "Cs") for character in plain):
        raise ValueError("control characters in it")
    return plain


Text = Annotated[str, Field(max_length=TEXT, description="a text of one or a few sentences"), AfterValidator(_plain)]
Best = Annotated[int, Field(ge=1, le=BEST, description="how many results; all where there are fewer")]
Number = Annotated[int, Field(ge=0, lt=2**31, description="the number of a picture, from 0")]


class TextQuery(Body):
    """A text that pictures are searched for."""

    text: Text
    k: Best = 12


class WhyQuery(Body):
    """A text and a picture."""

    text: Text
    item: Number


class Found(Body):
    """A picture that was found. name: its file's, if it has one; picture: where it is shown, if it can be"""

    item: Number
    score: float
    name: str | None
    captions: list[str]
    picture: str


class Pictures(Body):
    """The best pictures for a text, best first."""

    results: list[Found]
    milliseconds: float


class FoundCaption(Body):
    """A caption that was found. item: the picture that it is of"""

    caption: str
    score: float
    item: Number


class ForPicture(Body):
    """The best captions for a picture, and pictures like it; empty where the gallery or the method has none."""

    captions: list[FoundCaption]
    similar: list[Found]
    milliseconds: float


class Region(Body):
    """A box in pixels of the picture, with its share of a word's attention. region: its number, from 1"""

    region: int
    weight: float
    share: float
    x: float
    y: float
    width: float
    height: float


class Word(Body):
    """A word, and the regions that stand out for it.

    named: whether it may name something in the picture; tint: 0 for an even attention, 1 for one region; strength: in words
    pictured: whether it is among those that get a picture of their own
    """

    text: str
    named: bool
    pictured: bool
    attached: bool
    tint: float
    strength: str
    regions: list[Region]


class Why(Body):
    """Where the words of a text look in a picture of `width` × `height` pixels. note: of words that are not pictured"""

    picture: str
    width: int
    height: int
    regions: list[Region]
    words: list[Word]
    note: str


class Limited(Body):
    """The limits of this server."""

    text: int
    k: int
    upload: int
    megapixels: float
    seconds: float


class About(Body):
    """What this server searches, and what it can do.

    takes_pictures: whether a picture can be searched with; explains: whether `/api/why` answers
    """

    run: str
    family: str
    gallery: str
    features: str
    pictures: int
    captions: int
    takes_pictures: bool
    explains: bool
    limits: Limited


class Problem(Body):
    """Every error."""

    status: int
    error: str
