"""Pictures of scenes: a soft room, and objects shaded so that shape, colour, size and material can be seen.

Every object is a small shaded relief: a mask and the surface's normal at each point, lit by one lamp from the upper
left. Objects are drawn at four times their size, scaled down, and kept: their number is bounded.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from itrcore.data.scenes.world import BASE, COLUMNS, Scene

OVERSAMPLE = 4
RGB = {
    "red": (214, 38, 42),
    "orange": (246, 130, 24),
    "yellow": (248, 214, 36),
    "green": (44, 158, 66),
    "blue": (42, 92, 214),
    "purple": (126, 58, 172),
    "pink": (246, 132, 182),
    "black": (44, 44, 48),
}
WHITE = (250, 248, 244)
LAMP = np.array([-0.45, -0.6, 0.66], np.float32)
LAMP /= np.sqrt((LAMP**2).sum())
# Wall and floor of each backdrop, pale so that no object's colour is lost on them.
WALLS = ((236, 232, 222), (224, 232, 238), (232, 236, 226), (238, 228, 230))
FLOORS = ((206, 190, 168), (190, 194, 200), (198, 196, 178), (204, 188, 184))
WOOD = (158, 118, 82)
HORIZON = 0.575
JPEG_QUALITY = 90

Relief = tuple[np.ndarray, np.ndarray]  # mask (n, n) bool; unit normals (n, n, 3), y down, z to the viewer


def draw(scene: Scene, size: int) -> Image.Image:
    """The picture of a scene, `size` by `size` pixels, RGB."""
    picture = _room(scene.backdrop, size).copy()
    # Far to near, and what carries before what it carries.
    order = sorted(
        range(len(scene.things)),
        key=lambda i: (tuple(BASE).index(scene.things[i].place.row), scene.things[i].on is not None, i),
    )
    for index in order:
        thing = scene.things[index]
        side = max(3, round(thing.width * size))
        x, y = round(thing.place.x * size), round(scene.bottom(index) * size)
        if thing.on is None:
            shadow = _shadow(side)
            picture.paste((40, 32, 28), (x - shadow.width // 2, y - round(shadow.height * 0.62)), shadow)
        sprite = _sprite(thing.shape, thing.colour, thing.material, side)
        picture.paste(sprite, (x - side // 2, y - side), sprite)
    return picture


@lru_cache(maxsize=8)
def _room(backdrop: int, size: int) -> Image.Image:
    n = size * 2
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    wall, floor = np.array(WALLS[backdrop], np.float32), np.array(FLOORS[backdrop], np.float32)
    glow = 1.05 - 0.22 * ((x - 0.35) ** 2 + (y - 0.2) ** 2)
    depth = 0.9 + 0.16 * (y - HORIZON) / (1 - HORIZON)
    pixels = np.where((y < HORIZON)[..., None], wall * glow[..., None], floor * depth[..., None])
    room = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(room)
    pen.rectangle((0, (HORIZON - 0.018) * n, n, HORIZON * n), fill=tuple(int(c * 0.93) for c in WALLS[backdrop]))
    seam = tuple(int(c * 0.62) for c in FLOORS[backdrop])
    pen.line((0, HORIZON * n, n, HORIZON * n), fill=seam, width=max(1, n // 150))
    top, thick = BASE["shelf"] * n, 0.03 * n
    left, right = (COLUMNS[0] - 0.13) * n, (COLUMNS[-1] + 0.13) * n
    under = Image.new("L", room.size, 0)
    ImageDraw.Draw(under).rectangle((left + 0.01 * n, top, right - 0.01 * n, top + 2.2 * thick), fill=70)
    room.paste((60, 50, 40), (0, 0), under.filter(ImageFilter.GaussianBlur(0.012 * n)))
    surface = top - 0.3 * thick  # a strip of the shelf's top is in view, so that objects stand on it
    pen.rectangle((left, surface, right, top + 0.3 * thick), fill=tuple(min(255, int(c * 1.22)) for c in WOOD))
    pen.rectangle((left, top + 0.3 * thick, right, top + 1.2 * thick), fill=WOOD)
    return room.resize((size, size), Image.Resampling.BOX)


@lru_cache(maxsize=64)
def _shadow(side: int) -> Image.Image:
    width, height, margin = round(side * 1.05), max(2, round(side * 0.26)), max(2, side // 8)
    shadow = Image.new("L", (width + 2 * margin, height + 2 * margin), 0)
    ImageDraw.Draw(shadow).ellipse((margin, margin, margin + width, margin + height), fill=105)
    return shadow.filter(ImageFilter.GaussianBlur(margin * 0.55))


@lru_cache(maxsize=4096)
def _sprite(shape: str, colour: str, material: str, side: int) -> Image.Image:
    n = side * OVERSAMPLE
    mask, normal = _relief(shape, n)
    y, x = _grid(n)
    lit = normal @ LAMP
    shade = 0.52 + 0.55 * np.clip(lit, 0, 1)
    paint: np.ndarray = np.broadcast_to(np.array(RGB[colour], np.float32), (n, n, 3))
    gloss: np.ndarray = np.zeros((n, n), np.float32)
    opacity: np.ndarray = np.ones((n, n), np.float32)
    highlight = np.clip(2 * lit * normal[..., 2] - LAMP[2], 0, 1)  # how far the reflected lamp points to the viewer
    if material == "metal":
        bands = 0.5 + 0.5 * np.sin(3.4 * y + 0.5 * x + 1.2 * normal[..., 0] + 2.6 * normal[..., 1] + 2.6)
        shade = 0.4 + 0.4 * np.clip(lit, 0, 1) + 0.5 * bands**2
        gloss = 0.95 * highlight**14 + 0.36 * bands**8
    elif material == "glass":
        rim = 1 - normal[..., 2]
        shade = 0.78 + 0.25 * np.clip(lit, 0, 1)
        opacity = 0.58 + 0.36 * rim
        gloss = 0.9 * highlight**22
    elif material == "striped":
        stripes = np.sin(9.5 * (y + 0.45 * x)) > 0.25
        paint = np.where(stripes[..., None], np.array(WHITE, np.float32), paint)
    elif material == "spotted":
        u, v = x / 0.42 + 0.15, y / 0.42 + 0.1
        v_cell = np.floor(v)
        u = u + 0.5 * (v_cell % 2)
        spots = (u - np.floor(u) - 0.5) ** 2 + (v - v_cell - 0.5) ** 2 < 0.085
        paint = np.where(spots[..., None], np.array(WHITE, np.float32), paint)
    pixels = paint * shade[..., None]
    if colour == "black":  # black has no shade to lose: its light is added
        pixels = pixels + 34 * np.clip(lit, 0, 1)[..., None] * (paint[..., :1] < 100)
    pixels += (255 - pixels) * np.clip(gloss, 0, 1)[..., None]
    outline = mask & ~np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MinFilter(5))).astype(bool)
    pixels = np.where(outline[..., None], pixels * 0.6, pixels)
    opacity = np.where(outline, np.maximum(opacity, 0.85), opacity) * mask
    rgba = np.dstack([pixels, 255 * opacity]).clip(0, 255).astype(np.uint8)
    # Premultiplied by Pillow's resize itself, so that transparent neighbours do not darken the edge.
    return Image.fromarray(rgba, "RGBA").resize((side, side), Image.Resampling.BOX)


def _grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """y and x of every point of an n by n square, from -1 to 1."""
    axis = (np.arange(n, dtype=np.float32) + 0.5) * (2 / n) - 1
    return np.broadcast_to(axis[:, None], (n, n)), np.broadcast_to(axis[None, :], (n, n))


@lru_cache(maxsize=64)
def _relief(shape: str, n: int) -> Relief:
    y, x = _grid(n)
    return RELIEFS[shape](x, y)


def _join(*faces: tuple[np.ndarray, tuple[float | np.ndarray, float | np.ndarray, float | np.ndarray]]) -> Relief:
    """One relief of several faces, each a mask and a normal of any length; a later face hides an earlier one."""
    mask = np.zeros_like(faces[0][0])
    normal = np.zeros((*mask.shape, 3), np.float32)
    normal[..., 2] = 1
    for face, (nx, ny, nz) in faces:
        parts = np.stack([np.broadcast_to(np.asarray(c, np.float32), mask.shape) for c in (nx, ny, nz)], axis=-1)
        parts = parts / np.maximum(np.sqrt((parts**2).sum(-1, keepdims=True)), 1e-6)
        normal = np.where(face[..., None], parts, normal)
        mask = mask | face
    return mask, normal


def _root(values: np.ndarray) -> np.ndarray:
    positive: np.ndarray = np.clip(values, 0, None)
    return positive**0.5


def _sphere(x: np.ndarray, y: np.ndarray) -> Relief:
    rest = 1 - x**2 - y**2
    return _join((rest > 0, (x, y, _root(rest))))


def _cube(x: np.ndarray, y: np.ndarray) -> Relief:
    front = (x < 0.5) & (y > -0.5)
    up, along = (-0.5 - y) / 0.5, (x - 0.5) / 0.5
    top = (up >= 0) & (x - 0.5 * up > -1) & (x - 0.5 * up < 0.5)
    side = (along >= 0) & (y + 0.5 * along > -0.5) & (y + 0.5 * along < 1)
    return _join((front, (-0.15, 0.0, 1.0)), (side, (0.9, 0.1, 0.4)), (top, (-0.2, -0.9, 0.35)))


def _cylinder(x: np.ndarray, y: np.ndarray) -> Relief:
    u = np.clip(x / 0.74, -1, 1)
    body = (np.abs(x) < 0.74) & (y > -0.75) & (y < 0.75 + 0.25 * _root(1 - u**2))
    top = (x / 0.74) ** 2 + ((y + 0.75) / 0.25) ** 2 < 1
    return _join((body, (u, 0.0, _root(1 - u**2))), (top, (-0.1, -0.9, 0.42)))


def _cone(x: np.ndarray, y: np.ndarray) -> Relief:
    reach = 0.88 * np.clip((y + 1) / 1.78, 1e-3, None)
    side = (np.abs(x) < reach) & (y < 0.78)
    base = ((x / 0.88) ** 2 + ((y - 0.78) / 0.22) ** 2 < 1) & (y >= 0.78)
    u = np.clip(x / reach, -1, 1)
    return _join((side | base, (u * 0.92, -0.3, _root(1 - u**2) + 0.05)))


def _pyramid(x: np.ndarray, y: np.ndarray) -> Relief:
    down = (y + 1) / 2
    edge = 0.22 * down  # the edge between the two visible faces runs from the tip to (0.22, 1)
    left = (x > -1 * (y + 1) / 1.62) & (x <= edge) & (y < 0.62 + 0.38 * (x + 1) / 1.22)
    right = (x < 1 * (y + 1) / 1.45) & (x > edge) & (y < 1 - 0.55 * (x - 0.22) / 0.78)
    return _join((left, (-0.45, -0.4, 0.8)), (right, (0.75, -0.3, 0.6)))


def _ring(x: np.ndarray, y: np.ndarray) -> Relief:
    radius = np.maximum(np.sqrt(x**2 + y**2), 1e-6)
    d = (radius - 0.7) / 0.3
    return _join((np.abs(d) < 1, (d * x / radius, d * y / radius, _root(1 - d**2))))


def _star(x: np.ndarray, y: np.ndarray) -> Relief:
    y = (y + 0.1) * 0.905  # the lower points touch the ground
    step = np.pi / 5
    angle = np.arctan2(x, -y) + 20 * step
    sector = np.floor(angle / step)
    folded = np.where(sector % 2 == 0, angle - sector * step, (sector + 1) * step - angle)  # 0 at a point of the star
    radius = np.sqrt(x**2 + y**2)
    inner = 0.46
    # The edge from (1, 0) to the inner corner, and its outward normal.
    ex, ey = inner * np.sin(step), 1 - inner * np.cos(step)
    inside = ex * radius * np.cos(folded) + ey * radius * np.sin(folded) < ex
    tilt = np.where(sector % 2 == 0, sector * step, (sector + 1) * step) + np.where(
        sector % 2 == 0, 1, -1
    ) * np.arctan2(ey, ex)
    return _join((inside, (np.sin(tilt) * 0.75, -np.cos(tilt) * 0.75, 0.66)))


def _heart(x: np.ndarray, y: np.ndarray) -> Relief:
    u, v = 1.14 * x, 0.115 - 1.115 * y
    field = (u**2 + v**2 - 1) ** 3 - u**2 * v**3
    height = 0.75 * np.clip(-field, 0, None) ** 0.25
    step = 2 / x.shape[0]
    dy, dx = np.gradient(height, step)
    limit = 2.5  # the relief is infinitely steep at its edge
    return _join((field < 0, (np.clip(-dx, -limit, limit), np.clip(-dy, -limit, limit), 1.0)))


RELIEFS = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
    "pyramid": _pyramid,
    "ring": _ring,
    "star": _star,
    "heart": _heart,
}
