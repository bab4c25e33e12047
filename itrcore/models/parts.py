"""What a run is built from, by its settings: where each kind of method, text side and image side is found. No torch here.

Nothing but this table knows all of them, and a run loads its own alone: a change of one kind's code is none of the others'.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from itrcore.data.inputs import PixelInput, RegionInput
from itrcore.models.settings import ModelSettings, SetSettings

METHODS = {  # kind → the class, or what makes it: (settings, loss, image, text) → a method
    "esa": "itrcore.models.esa:ESA",
    "esl": "itrcore.models.esl:ESL",
    "esl_clip": "itrcore.models.esl_clip:ESLCLIP",
    "lhsc": "itrcore.models.lhsc:LHSC",
    "scan": "itrcore.models.scan:scan",
    "sgraf": "itrcore.models.sgraf:SGRAF",
    "vse": "itrcore.models.vse:VSE",
}
TEXTS = {  # text encoder → the module that prepares and restores its text side
    "bigru": "itrcore.models.words",
    "bert": "itrcore.models.pieces",
    "clip": "itrcore.models.clip_text",
}
REGIONS, GRID = "itrcore.models.image", "itrcore.models.grid_side"  # the modules of image sides


def load(where: str) -> Any:
    """The module, or what `module:name` names."""
    return resolve_name(where)


def image_side(model: ModelSettings) -> str:
    """The module of a run's image side."""
    return GRID if isinstance(model, SetSettings) and model.grid is not None else REGIONS


def modules(model: ModelSettings) -> list[str]:
    """The modules that a run of these settings loads by this table."""
    given = PixelInput if model.reads_pixels else RegionInput
    found = [METHODS[model.kind], TEXTS[model.text.kind], image_side(model), given.images]
    return [where.partition(":")[0] for where in found]
