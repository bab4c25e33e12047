"""How an explanation looks: which boxes are drawn how strongly, the same on the run's page and in the PNG of `itr explain`.

A picture for each word that may name something. It is darkened, but for the regions that the word looks at most, each as bright
as its share of the strongest one's weight. Weight is shown by brightness, by the line's thickness and as a number, never by hue.
A region is drawn only if it gets clearly more weight than it would if the word looked at all regions alike: three regions are
the strongest even then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from itrcore.runs.examples import Explanation, Word

DARK = 0.66  # how much of the picture's light is taken away where no region is
FAINT = 0.15  # of the strongest region's weight: what is below could not be seen
STANDS_OUT = 1.25  # times the weight that each region of an even attention has
MOST_WORDS = 11  # pictures of one explanation, beside that of all regions; long captions have more words
EVEN = "even"
LEGEND = (
    f"Tint and %: how much of its attention a word gives its strongest region ({EVEN}: none stands out). Boxes: its three "
    "strongest, brighter with weight."
)


@dataclass(frozen=True)
class Mark:
    """A box to draw: region from 1, corner and size in pixels of the picture, share of its word's strongest region."""

    region: int
    weight: float
    share: float
    x: float
    y: float
    width: float
    height: float


def shown(words: Iterable[Word]) -> list[Word]:
    """The words that get a picture: those that may name something; of too many, the ones that look most at one region."""
    named = [word for word in words if word.named]
    kept = sorted(named, key=lambda word: -word.looks[0].weight)[:MOST_WORDS]
    return [word for word in named if any(word is other for other in kept)]


def marks(word: Word, explanation: Explanation, size: tuple[int, int]) -> list[Mark]:
    """The regions to draw for a word, strongest first, cut off at the picture's edges; none where none stands out.

    size: width and height of the picture, in pixels
    """
    strongest = word.looks[0].weight
    drawn = []
    for look in word.looks:
        box = _inside(explanation.boxes[look.region], size)
        if box is not None and look.weight >= max(FAINT * strongest, _least(explanation)):
            drawn.append(Mark(look.region + 1, look.weight, look.weight / strongest, *box))
    return drawn


def all_boxes(explanation: Explanation, size: tuple[int, int]) -> list[Mark]:
    """Every region, as a mark without a weight."""
    boxes = (_inside(box, size) for box in explanation.boxes)
    return [Mark(number, 0.0, 0.0, *box) for number, box in enumerate(boxes, 1) if box is not None]


def _inside(corners: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    x1, y1 = (min(max(corners[i], 0.0), float(size[i])) for i in (0, 1))
    x2, y2 = (min(max(corners[i + 2], 0.0), float(size[i])) for i in (0, 1))
    return (x1, y1, x2 - x1, y2 - y1) if x2 > x1 and y2 > y1 else None


def left_out(explanation: Explanation) -> str:
    """A sentence where the caption has more words than get a picture, else nothing."""
    named = sum(word.named for word in explanation.words)
    return f"Shown: the {MOST_WORDS} of {named} words that look most at one region." if named > MOST_WORDS else ""


def _least(explanation: Explanation) -> float:
    return STANDS_OUT / len(explanation.boxes)


def tint(word: Word, explanation: Explanation) -> float:
    """How strongly a word is tinted: 0 where its attention is spread evenly, 1 where one region has all of it."""
    even = 1 / len(explanation.boxes)
    return max(0.0, (word.looks[0].weight - even) / (1 - even)) if even < 1 else 0.0


def strength(word: Word, explanation: Explanation) -> str:
    """The weight of a word's strongest region for people: `41 %`, or `even` where no region stands out."""
    weight = word.looks[0].weight
    return percent(weight) if weight >= _least(explanation) else EVEN


def percent(weight: float) -> str:
    """A weight for people: `41 %`, `<1 %`."""
    return f"{weight:.0%}".replace("%", " %") if weight >= 0.005 else "<1 %"


def thickness(share: float) -> float:
    """The thickness of a box's line, in pixels on the page. share: the mark's"""
    return 1.0 + 2.0 * share


def attached(text: str) -> bool:
    """Whether a word stands close to the one before it: a full stop, a comma, `'s`."""
    return not text[:1].isalnum() and text[:1] not in "<[(" and len(text) <= 3
