"""The world of the scenes: objects in a room, their relations, and families of near-duplicates.

A room has a shelf on the wall and two rows on the floor, each with four columns. Lengths are fractions of the square
picture, x to the right, y down. An object may stand on top of a large cube or cylinder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

SHAPES = ("sphere", "cube", "cylinder", "cone", "pyramid", "ring", "star", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES = ("small", "large")
MATERIALS = ("matte", "metal", "glass", "striped", "spotted")
ATTRIBUTES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "material": MATERIALS}
SUPPORTS = ("cube", "cylinder")  # the shapes with a flat top
BACKDROPS = 4

ROWS = ("shelf", "back", "front")
BASE = {"shelf": 0.30, "back": 0.665, "front": 0.945}  # y of the line that a row's objects stand on
SCALE = {"shelf": 0.85, "back": 0.88, "front": 1.0}  # farther is smaller
WIDTH = {"small": 0.125, "large": 0.215}
COLUMNS = (0.14, 0.38, 0.62, 0.86)
JITTER = 0.018  # objects of one row never overlap
TOP = 0.875  # share of a support's height at which the object on it stands: the middle of its visible top
MAX_OBJECTS = len(ROWS) * len(COLUMNS)

APART = 0.12  # two columns are at least this far apart, one column's objects are closer
NEAR = 0.30  # neighbouring columns are closer than this
STACKED_SHARE = 0.35
# What tells a near-duplicate from the first of its family, and how often.
CHANGES = {"colour": 0.28, "material": 0.2, "shape": 0.18, "size": 0.1, "swap": 0.24}
# Two objects, one on the other: 8 shapes, 14 colours, 8 materials; keeping (colour, shape) unique forbids at most 2.
MAX_NEAR_DUPLICATES = 29


@dataclass(frozen=True)
class Place:
    """Where an object stands: a row, a column, and the x of its middle (the column's, moved a little)."""

    row: str
    column: int
    x: float


@dataclass(frozen=True)
class Thing:
    """One object. `on` is the index of the object that it stands on; then both have the same place."""

    shape: str
    colour: str
    size: str
    material: str
    place: Place
    on: int | None = None

    def with_attribute(self, kind: str, value: str) -> Thing:
        """The same object but for one attribute."""
        changes: dict[str, Any] = {kind: value}
        return replace(self, **changes)

    @property
    def width(self) -> float:
        """Width and height of the object in the picture."""
        return WIDTH[self.size] * SCALE[self.place.row]


@dataclass(frozen=True)
class Scene:
    """A room with objects; no two of them share both colour and shape."""

    things: tuple[Thing, ...]
    backdrop: int

    def bottom(self, index: int) -> float:
        """The y that object `index` stands at."""
        thing = self.things[index]
        if thing.on is None:
            return BASE[thing.place.row]
        return self.bottom(thing.on) - TOP * self.things[thing.on].width

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Object `index` in the picture: x1, y1, x2, y2."""
        thing, bottom = self.things[index], self.bottom(index)
        return (thing.place.x - thing.width / 2, bottom - thing.width, thing.place.x + thing.width / 2, bottom)

    def stacked(self, index: int) -> bool:
        """Whether object `index` stands on another or carries one."""
        return self.things[index].on is not None or any(thing.on == index for thing in self.things)


@dataclass(frozen=True)
class Family:
    """Near-duplicates: each of `scenes[1:]` differs from `scenes[0]` in one attribute of one object or one swap.

    changed: indices of the objects that are not the same in all members of the family
    """

    scenes: tuple[Scene, ...]
    changed: frozenset[int]


def relations(scene: Scene, a: int, b: int) -> tuple[str, ...]:
    """Names of the relations that object `a` has to object `b`, one or two; left and right come first."""
    first, second = scene.things[a], scene.things[b]
    if first.on == b:
        return ("on",)
    if second.on == a:
        return ("under",)
    names = []
    dx = first.place.x - second.place.x
    rows = (first.place.row, second.place.row)
    if dx < -APART:
        names.append("left")
    elif dx > APART:
        names.append("right")
    elif "shelf" in rows:
        names.append("above" if rows[0] == "shelf" else "below")
    if abs(dx) < NEAR and first.on is None and second.on is None:
        if rows == ("front", "back"):
            names.append("front")
        elif rows == ("back", "front"):
            names.append("behind")
        elif rows[0] == rows[1]:
            names.append("beside")
    if not names:  # one column, two rows of the floor, one of the two on a third object
        names.append("front" if rows[0] == "front" else "behind")
    return tuple(names)


def between(scene: Scene, a: int, b: int, c: int) -> bool:
    """Whether object `a` stands between `b` (left) and `c` (right) in one row."""
    middle, left, right = (scene.things[i] for i in (a, b, c))
    same_row = middle.place.row == left.place.row == right.place.row and middle.on is left.on is right.on is None
    return same_row and left.place.x + APART < middle.place.x < right.place.x - APART


def draw_family(rng: np.random.Generator, min_objects: int, max_objects: int, members: int) -> Family:
    """A family of `members` different scenes."""
    first = _draw_scene(rng, int(rng.integers(min_objects, max_objects + 1)))
    scenes, changed = [first], set[int]()
    offered = {kind: list(_changes(first, kind)) for kind in CHANGES}
    while len(scenes) < members:
        kinds = [kind for kind in CHANGES if offered[kind]]
        weights = np.array([CHANGES[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        touched, scene = offered[kind].pop(int(rng.integers(len(offered[kind]))))
        scenes.append(scene)
        changed |= touched
    return Family(tuple(scenes), frozenset(changed))


def _draw_scene(rng: np.random.Generator, count: int) -> Scene:
    places = [
        Place(row, column, COLUMNS[column] + float(rng.uniform(-JITTER, JITTER)))
        for row in ROWS
        for column in range(len(COLUMNS))
    ]
    places = [places[int(i)] for i in rng.permutation(len(places))]
    stacked = bool(rng.random() < STACKED_SHARE)
    if stacked:  # the support comes first; what stands on it would hide the back row's object in its column
        places.sort(key=lambda place: place.row == "shelf")
        support = places[0]
        places = [p for p in places if not (support.row == "front" and (p.row, p.column) == ("back", support.column))]
        places = [support, support] + [places[1:][int(i)] for i in rng.permutation(len(places) - 1)]
    things: list[Thing] = []
    while len(things) < count:
        index = len(things)
        shape, colour, size, material = (_pick(rng, values) for values in ATTRIBUTES.values())
        thing = Thing(shape, colour, size, material, places[index])
        if stacked and index == 0:
            thing = replace(thing, shape=_pick(rng, SUPPORTS), size="large")
        elif stacked and index == 1:
            thing = replace(thing, size="small", on=0)
        if _unique([*things, thing]):
            things.append(thing)
    return Scene(tuple(things), int(rng.integers(BACKDROPS)))


def _pick(rng: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[int(rng.integers(len(values)))]


def _unique(things: list[Thing]) -> bool:
    return len({(thing.colour, thing.shape) for thing in things}) == len(things)


def _changes(scene: Scene, kind: str) -> Iterator[tuple[set[int], Scene]]:
    """Every scene that is one change of this kind away, with the objects that the change touches."""
    if kind == "swap":
        free = [i for i in range(len(scene.things)) if not scene.stacked(i)]
        for position, a in enumerate(free):
            for b in free[position + 1 :]:
                things = list(scene.things)
                things[a] = replace(things[a], place=scene.things[b].place)
                things[b] = replace(things[b], place=scene.things[a].place)
                yield {a, b}, replace(scene, things=tuple(things))
        return
    for index, thing in enumerate(scene.things):
        for value in ATTRIBUTES[kind]:
            things = list(scene.things)
            things[index] = thing.with_attribute(kind, value)
            if value != getattr(thing, kind) and _unique(things) and _stands(things, index):
                yield {index}, replace(scene, things=tuple(things))


def _stands(things: list[Thing], index: int) -> bool:
    """Whether a changed object still carries what stands on it, and is still small where it stands on another."""
    thing = things[index]
    carries = any(other.on == index for other in things)
    return (not carries or (thing.shape in SUPPORTS and thing.size == "large")) and (
        thing.on is None or thing.size == "small"
    )
