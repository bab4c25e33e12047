"""The picture of the floors: rooms as boxes, imports as arrows, as SVG that GitHub shows in light and in dark."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

WIDTH, LEFT, MARGIN = 1280, 224, 24  # of the picture, at least; of the floors' names; around everything
ROOF, BAND, ROOM, FOOT = 104, 96, 48, 44  # heights: of the roof, of a floor, of its rooms, of what is below the ground
LETTER, GAP, LANE = 8.45, 22, 8  # width of a letter in a room's name; between rooms; between arrows side by side


class Floor(NamedTuple):
    """rooms: path → what it is for, in the order in which they stand from left to right."""

    name: str
    rooms: Mapping[str, str]


class Box(NamedTuple):
    """A room's place: its left side, width and upper side."""

    x: float
    width: float
    y: float

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.x + self.width / 2


def draw(floors: Sequence[Floor], lines: Mapping[str, int], arrows: Sequence[tuple[str, str]]) -> str:
    """The picture. lines: of each room; arrows: from a room to one that it imports, on a lower floor."""
    return _Drawing(floors, lines, arrows).svg()


def name_of(room: str) -> str:
    """`data/text`, `errors`, `stages`."""
    return room.removeprefix("itrcore/").removesuffix("/").removesuffix(".py")


class _Drawing:
    def __init__(self, floors: Sequence[Floor], lines: Mapping[str, int], arrows: Sequence[tuple[str, str]]) -> None:
        self.floors, self.lines, self.arrows = floors, lines, arrows
        self.height_of = {room: height for height, floor in enumerate(floors) for room in floor.rooms}
        # Arrows that pass a floor run through a gap between its rooms, those to the same room in one lane.
        self.lanes: dict[tuple[int, int], list[str]] = {}  # floor, gap → the rooms that lanes lead to
        self.boxes = self._boxes()
        passed = [self._gaps(*arrow) for arrow in arrows]
        for (_, of), gaps in zip(arrows, passed, strict=True):
            for gap in gaps:
                self.lanes.setdefault(gap, [])
                if of not in self.lanes[gap]:
                    self.lanes[gap].append(of)
        for lanes in self.lanes.values():
            lanes.sort(key=lambda of: self.boxes[of].middle)
        self.boxes = self._boxes()  # with room for the lanes
        self.ways = [self._way(*arrow, gaps) for arrow, gaps in zip(arrows, passed, strict=True)]

    def _y(self, floor: int) -> float:
        """The upper side of a floor's rooms."""
        return MARGIN + ROOF + (len(self.floors) - 1 - floor) * BAND + (BAND - ROOM) / 2

    def _boxes(self) -> dict[str, Box]:
        """Every room's place. The picture grows with its widest floor."""
        rows = []
        for height, floor in enumerate(self.floors):
            widths = [max(LETTER * len(name_of(room)) + 26, 40 + 0.12 * self.lines[room]) for room in floor.rooms]
            gaps = [GAP + LANE * len(self.lanes.get((height, gap), ())) for gap in range(1, len(widths))]
            rows.append((widths, [*gaps, 0]))
        self.width = max(WIDTH, round(LEFT + 2 * MARGIN + max(sum(widths) + sum(gaps) for widths, gaps in rows)))
        boxes = {}
        for height, (floor, (widths, gaps)) in enumerate(zip(self.floors, rows, strict=True)):
            x = LEFT + (self.width - LEFT - MARGIN - sum(widths) - sum(gaps)) / 2
            for room, width, gap in zip(floor.rooms, widths, gaps, strict=True):
                boxes[room] = Box(x, width, self._y(height))
                x += width + gap
        return boxes

    def _gaps(self, by: str, of: str) -> list[tuple[int, int]]:
        """On each floor between two rooms, the gap nearest to the straight line. Gap 0 is left of all rooms."""
        x, top, bottom = self.boxes[by].middle, self.height_of[by], self.height_of[of]
        gaps = []
        for height in range(top - 1, bottom, -1):
            x += (self.boxes[of].middle - x) / (height + 1 - bottom)
            middles = self._middles(height)
            gap = min(range(len(middles)), key=lambda gap: (abs(middles[gap] - x), gap))
            gaps.append((height, gap))
            x = middles[gap]
        return gaps

    def _middles(self, height: int) -> list[float]:
        boxes = [self.boxes[room] for room in self.floors[height].rooms]
        between = [(a.x + a.width + b.x) / 2 for a, b in pairwise(boxes)]
        outside = [(GAP + LANE * len(self.lanes.get((height, gap), ()))) / 2 for gap in (0, len(boxes))]
        return [boxes[0].x - outside[0], *between, boxes[-1].x + boxes[-1].width + outside[1]]

    def _way(self, by: str, of: str, gaps: Sequence[tuple[int, int]]) -> list[tuple[float, float, float]]:
        """Where an arrow runs straight down: x, from which y, to which. At its two ends the two are the same."""
        way = [(self.boxes[by].middle, self.boxes[by].y + ROOM, self.boxes[by].y + ROOM)]
        for height, gap in gaps:
            lanes = self.lanes[height, gap]
            x = self._middles(height)[gap] + LANE * (lanes.index(of) - (len(lanes) - 1) / 2)
            way.append((x, self._y(height), self._y(height) + ROOM))
        return [*way, (self.boxes[of].middle, self.boxes[of].y, self.boxes[of].y)]

    def svg(self) -> str:
        width, ground = self.width, MARGIN + ROOF + len(self.floors) * BAND
        right = width - MARGIN
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {ground + FOOT}" role="img" aria-label="{TITLE}">',
                STYLE,
                f'<rect class="paper" width="{width}" height="{ground + FOOT}" rx="14"/>',
                f'<path class="roof" d="M{MARGIN} {MARGIN + ROOF}L{width / 2:g} {MARGIN}L{right} {MARGIN + ROOF}z"/>',
                f'<text class="title" x="{width / 2:g}" y="{MARGIN + ROOF - 22}">{TITLE}</text>',
                *(self._band(floor) for floor in range(len(self.floors))),
                f'<path class="ground" d="M{MARGIN} {ground}H{right}"/>',
                f'<text class="legend" x="{width / 2:g}" y="{ground + 27}">{LEGEND}</text>',
                *(f'<path class="arrow" d="{_curve(way)}" marker-end="url(#head)"/>' for way in self.ways),
                *(self._room(room, box) for room, box in self.boxes.items()),
                "</svg>\n",
            ]
        )

    def _band(self, floor: int) -> str:
        y = self._y(floor) - (BAND - ROOM) / 2
        return (
            f'<rect class="band{floor % 2}" x="{MARGIN}" y="{y:g}" width="{self.width - 2 * MARGIN}" height="{BAND}"/>'
            f'<text class="number" x="{MARGIN + 50}" y="{y + BAND / 2 + 8:g}">{floor + 1}</text>'
            f'<text class="floor" x="{MARGIN + 64}" y="{y + BAND / 2 + 5:g}">{escape(self.floors[floor].name)}</text>'
        )

    def _room(self, room: str, box: Box) -> str:
        colour = _colour(self.height_of[room] / max(1, len(self.floors) - 1))
        words = escape(self.floors[self.height_of[room]].rooms[room])
        return (
            f'<g data-room="{room}" data-lines="{self.lines[room]}"><title>{room}: {words}</title>'
            f'<rect class="paper" x="{box.x:.1f}" y="{box.y:g}" width="{box.width:.1f}" height="{ROOM}" rx="7"/>'
            f'<rect x="{box.x:.1f}" y="{box.y:g}" width="{box.width:.1f}" height="{ROOM}" rx="7" fill="{colour}" '
            f'fill-opacity=".24" stroke="{colour}" stroke-width="1.2"/>'
            f'<text class="room" x="{box.middle:.1f}" y="{box.y + 22:g}">{name_of(room)}</text>'
            f'<text class="lines" x="{box.middle:.1f}" y="{box.y + 39:g}">{self.lines[room]:,}</text></g>'
        )


def _curve(way: Sequence[tuple[float, float, float]]) -> str:
    x, _, y = way[0]
    parts = [f"M{x:.1f} {y:g}"]
    for next_x, from_y, to_y in way[1:]:
        bend = (from_y - y) / 2
        parts.append(f"C{x:.1f} {y + bend:g} {next_x:.1f} {from_y - bend:g} {next_x:.1f} {from_y:g}")
        if to_y > from_y:
            parts.append(f"V{to_y:g}")
        x, y = next_x, to_y
    return "".join(parts)


def _colour(height: float) -> str:
    """From earth at the ground, 0, over green and blue to violet at the top, 1."""
    red, green, blue = colorsys.hls_to_rgb((32 + 240 * height) / 360, 0.52, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


TITLE = "Every import runs downwards"
LEGEND = (
    "A box is a room: a folder or a file. Its width follows its lines of code. An arrow is an import; those that follow from "
    "others are left out."
)
STYLE = """<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto">
<path class="head" d="M0 .8L8 4L0 7.2z"/></marker></defs>
<style>
text { font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
.paper { fill: #fdfcf9 }
.band0 { fill: #000; fill-opacity: .022 }
.band1 { fill: #000; fill-opacity: .045 }
.roof { fill: #000; fill-opacity: .045 }
.ground { stroke: #a8743f; stroke-width: 3 }
.title { font-size: 18px; text-anchor: middle }
.legend { font-size: 12.5px; text-anchor: middle; fill: #656d76 }
.number { font-size: 24px; font-weight: 300; text-anchor: end; fill: #8b9198 }
.floor { font-size: 14px }
.room { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; text-anchor: middle }
.lines { font-size: 11px; text-anchor: middle; fill: #656d76 }
.arrow { fill: none; stroke: #9aa1a9; stroke-width: 1.1 }
.head { fill: #848c95 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.paper { fill: #14171c }
.band0 { fill: #fff; fill-opacity: .025 }
.band1, .roof { fill: #fff; fill-opacity: .055 }
.number { fill: #6e7681 }
.lines, .legend { fill: #9198a1 }
.arrow { stroke: #6e7681 }
.head { fill: #868e97 }
}
</style>"""
