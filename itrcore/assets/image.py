"""The image side of a run: what its image encoder is built from, and what it reads.

A training prepares it from the data set's features or from pretrained weights. A finished run's folder holds all of it
(`image/`), so that the run can be evaluated without a model hub. Each kind has a module (`itrcore/registry.py`) with three
functions:

    prepare(grid, width) -> ImageSide           # for a new run; width: of the data set's region features, if any
    restore(grid, folder, width) -> ImageSide   # of a finished run, from its image folder
    untrained(grid, width) -> ImageSide         # for measuring: the same sizes, drawn at random

`grid` is `model.grid` of the settings, None for other kinds. They raise `DataError` where something is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.layers.image_encoders import ImageEncoder


class ImageSide(Protocol):
    """The image side of a run."""

    @property
    def width(self) -> int | None:
        """Of the region features that it reads; None where it reads pictures."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the pretrained weights that it brings, if any."""

    def save(self, folder: Path) -> None:
        """Write what `restore` reads into this folder, which is made where there is something to write."""


class SetImages(ImageSide, Protocol):
    """An image side that makes a set of features of each image: of its regions, or of a grid of cells."""

    def input(self, drop: float) -> RegionInput | PixelInput:
        """What a method reads of an image. drop: the share of region features that training drops; of no effect on a grid"""

    def encoder(self, dim: int, drop: float) -> ImageEncoder:
        """From what `input` says to features of `dim` dimensions. drop: the share of cells that training drops"""
