"""Region features of scenes: noisy non-negative projections of the objects, among regions that only distract.

A region is a short list of (what, weight): one-hot attributes, or a kind of background. Every `what` has a random
direction in feature space, drawn from the seed, and so have the four measures of the region's box, from which relations
can be recovered. The sum of the directions gets noise and is cut at 0, as bottom-up attention's features are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from itrcore.data.scenes.world import ATTRIBUTES, Scene

BACKGROUNDS = ("wall", "floor", "shelf", "edge")
NAMES = tuple(f"{kind}={value}" for kind, values in ATTRIBUTES.items() for value in values) + BACKGROUNDS
MEASURES = ("x", "bottom", "width", "height")
# A measure's code is (value - centre) / scale: about as large as a one-hot entry.
CENTRES = (0.5, 0.65, 0.16, 0.16)
SCALES = (0.25, 0.22, 0.06, 0.06)
OFFSET = 0.12  # subtracted before the cut at 0, in standard deviations of the signal: a little over half become zeros
WANDER = 0.012  # of a box's sides, as a detector's; fractions of the picture
SECOND = 0.5  # share of objects that two regions show, where there is room
DISTRACTORS = {"background": 0.5, "part": 0.3, "mixture": 0.2}

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Region:
    """What a region shows, as weights of `NAMES`, and its box x1, y1, x2, y2 in fractions of the picture."""

    weights: dict[str, float]
    box: Box
    thing: int | None = None  # the index of the object that the region shows, None for distractors


def projection(seed: int, stream: int, width: int) -> np.ndarray:
    """The directions of `NAMES` and `MEASURES`, (len(NAMES) + 4, width)."""
    return np.random.default_rng([seed, stream]).standard_normal((len(NAMES) + len(MEASURES), width))


def lay_out(scene: Scene, count: int, rng: np.random.Generator) -> list[Region]:
    """`count` regions in random order: each object once or twice, then distractors. At most `count` objects."""
    shown = list(range(len(scene.things)))
    for index in range(len(scene.things)):
        if rng.random() < SECOND and len(shown) < count:
            shown.append(index)
    regions = [Region(_attributes(scene, i), _wander(scene.box(i), rng), i) for i in shown]
    kinds = list(DISTRACTORS)
    while len(regions) < count:
        kind = kinds[int(rng.choice(len(kinds), p=list(DISTRACTORS.values())))]
        regions.append(_distractor(scene, kind, rng))
    return [regions[int(i)] for i in rng.permutation(count)]


def features(regions: list[Region], directions: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Features (n_regions, width) float32 of laid out regions.

    directions: what `projection` gives; noise: its standard deviation relative to the signal's
    """
    rows = np.empty((len(regions), directions.shape[1]), np.float32)
    for row, region in zip(rows, regions, strict=True):
        # Sums of scaled rows in a fixed order, not a matrix product: the same bytes whatever the BLAS and its threads.
        signal, energy = np.zeros(directions.shape[1]), 0.0
        for index, weight in _code(region):
            signal += weight * directions[index]
            energy += weight * weight
        deviation = math.sqrt(energy)
        values = signal / deviation + noise * rng.standard_normal(len(signal)) - OFFSET
        row[:] = np.maximum(values, 0.0)
    return rows


def pixels(regions: list[Region], size: int) -> np.ndarray:
    """Boxes (n_regions, 4) float32 of regions in a picture of `size` by `size` pixels: x1, y1, x2, y2."""
    return (np.array([region.box for region in regions]) * size).astype(np.float32)


def measures(box: Box) -> tuple[float, float, float, float]:
    """The codes of a box: of its middle's x, its lower y, its width and its height."""
    x1, y1, x2, y2 = box
    values = ((x1 + x2) / 2, y2, x2 - x1, y2 - y1)
    codes = [(value - centre) / scale for value, centre, scale in zip(values, CENTRES, SCALES, strict=True)]
    return codes[0], codes[1], codes[2], codes[3]


def _code(region: Region) -> list[tuple[int, float]]:
    named = [(NAMES.index(name), weight) for name, weight in region.weights.items()]
    return named + [(len(NAMES) + i, value) for i, value in enumerate(measures(region.box))]


def _attributes(scene: Scene, index: int) -> dict[str, float]:
    return {f"{kind}={getattr(scene.things[index], kind)}": 1.0 for kind in ATTRIBUTES}


def _wander(box: Box, rng: np.random.Generator) -> Box:
    """The box with its sides moved a little, inside the picture."""
    x1, y1, x2, y2 = (float(side + move) for side, move in zip(box, rng.normal(0, WANDER, 4), strict=True))
    return _clip((x1, y1, max(x2, x1 + WANDER), max(y2, y1 + WANDER)))


def _clip(box: Box) -> Box:
    x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in box)
    return x1, y1, x2, y2


def _distractor(scene: Scene, kind: str, rng: np.random.Generator) -> Region:
    things = len(scene.things)
    if kind == "background":
        name = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
        width, height = (float(side) for side in rng.uniform(0.12, 0.6, 2))
        x, y = float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height))
        return Region({name: float(rng.uniform(1.2, 2.0))}, (x, y, x + width, y + height))
    first = int(rng.integers(things))
    if kind == "part":  # the surface is seen, the shape is not
        x1, y1, x2, y2 = scene.box(first)
        left, up = (float(share) for share in rng.uniform(0, 0.5, 2))
        side = (x2 - x1) * float(rng.uniform(0.35, 0.5))
        x, y = x1 + left * (x2 - x1), y1 + up * (y2 - y1)
        seen = _attributes(scene, first)
        weights = {name: float(rng.uniform(0.4, 0.9)) for name in seen if name.startswith(("colour=", "material="))}
        return Region(weights, _clip((x, y, x + side, y + side)))
    second = int((first + 1 + rng.integers(things - 1)) % things)
    a, b = scene.box(first), scene.box(second)
    union = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    weights = dict[str, float]()
    for name in [*_attributes(scene, first), *_attributes(scene, second)]:
        weights[name] = weights.get(name, 0.0) + float(rng.uniform(0.1, 0.6))
    return Region(weights, _wander(union, rng))
