"""The image side of a run: what its encoder is built from and reads.

A training prepares it from the data set's features or from pretrained weights; a finished run's folder holds all of it
(`image/`), so that a run can be evaluated whatever becomes of a model hub. Here is the side that has no weights of its own;
`grid_side.py` has the other. Both modules have two functions:

    prepare(model, width) -> ImageSide           # for a new run; width: of the data set's region features, if any
    restore(model, folder, width) -> ImageSide   # of a finished run, from its image folder
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from itrcore.data.inputs import PixelInput, RegionInput
from itrcore.errors import DataError
from itrcore.models.encoders import ImageEncoder, RegionEncoder
from itrcore.models.settings import ModelSettings


@dataclass(frozen=True)
class ImageInputs:
    """What an image encoder is built from: region features, or a grid of cells; neither where CLIP sees the pictures.

    width: of the region features
    grid: makes the encoder of a grid's cells, with pretrained weights where it has some, of (dimensions, the share of cells
        that training drops); pixels: what it reads
    """

    width: int | None = None
    grid: Callable[[int, float], ImageEncoder] | None = None
    pixels: PixelInput | None = None

    def input(self, drop: float) -> RegionInput | PixelInput:
        """What a method reads; `drop` is of region features, a grid drops cells behind its backbone."""
        return self.pixels or RegionInput(drop)

    def encoder(self, dim: int, cell_drop: float) -> ImageEncoder:
        """Of a grid's cells where there is a grid, else of region features; `cell_drop` is the grid's."""
        if self.grid is not None:
            return self.grid(dim, cell_drop)
        assert self.width is not None
        return RegionEncoder(self.width, dim)


class ImageSide(Protocol):
    """The image side of a run."""

    @property
    def inputs(self) -> ImageInputs:
        """What the encoder is built from."""

    @property
    def digest(self) -> str | None:
        """Of the pretrained weights that it brings, if any."""

    def save(self, folder: Path) -> None:
        """Write what `restore` reads into a folder that it makes, if it needs one."""


class Regions:
    """Region features; or, where CLIP sees the pictures, nothing: the text side brings both towers."""

    digest = None

    def __init__(self, width: int | None) -> None:
        self.inputs = ImageInputs(width)

    def save(self, folder: Path) -> None:
        """Nothing: run.json has the width."""


def prepare(model: ModelSettings, width: int | None) -> Regions:
    """For a new run. width: of the data set's region features, where it has some"""
    if not model.reads_pixels and width is None:
        raise DataError(
            "this method reads region features, and the data set has none; choose a method that reads pictures"
        )
    return Regions(None if model.reads_pixels else width)


def restore(model: ModelSettings, folder: Path, width: int | None) -> Regions:
    """Of a finished run."""
    return Regions(width)
