"""The image side of a run: what its encoder is built from and reads.

A training prepares it from the data set's features or from pretrained weights; a finished run's folder holds all of it
(`image/`), so that a run can be evaluated whatever becomes of a model hub.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from itrcore.data.inputs import PixelInput, RegionInput
from itrcore.errors import DataError
from itrcore.files import digest, read_json, write_json
from itrcore.models import backbone
from itrcore.models.backbone import Backbone
from itrcore.models.encoder_settings import GridSettings
from itrcore.models.encoders import ImageEncoder, RegionEncoder
from itrcore.models.grid import GridEncoder
from itrcore.models.published import weights_digest
from itrcore.models.settings import ModelSettings, SetSettings

_ARCHITECTURE = "backbone.json"


@dataclass(frozen=True)
class ImageInputs:
    """What an image encoder is built from: region features, or a grid's backbone; neither where CLIP sees the pictures.

    width: of the region features
    backbone: makes the backbone, with its pretrained weights where it has some; pixels: what it reads
    """

    width: int | None = None
    backbone: Callable[[], Backbone] | None = None
    pixels: PixelInput | None = None

    def input(self, drop: float) -> RegionInput | PixelInput:
        """What a method reads; `drop` is of region features, a grid drops cells behind its backbone."""
        return self.pixels or RegionInput(drop)

    def encoder(self, dim: int, cell_drop: float) -> ImageEncoder:
        """Of region features, or of a grid's cells where there is a backbone; `cell_drop` is the grid's."""
        if self.backbone is None:
            assert self.width is not None
            return RegionEncoder(self.width, dim)
        return GridEncoder(self.backbone(), dim, cell_drop)


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


class Grid:
    """Pictures, and the backbone that makes a grid of cells of each."""

    def __init__(
        self, settings: GridSettings, architecture: dict[str, Any], pretrained: Backbone | None = None
    ) -> None:
        self.settings, self.architecture = settings, architecture
        self._pretrained = pretrained

    @classmethod
    def prepare(cls, settings: GridSettings) -> Grid:
        """For a new run. `DataError` where pretrained weights cannot be had."""
        if settings.shape is not None:
            return cls(settings, backbone.random(settings, settings.shape))
        pretrained, architecture = backbone.pretrained(settings)
        return cls(settings, architecture, pretrained)

    @classmethod
    def restore(cls, settings: GridSettings, folder: Path) -> Grid:
        """Of a finished run, from what `save` wrote. `DataError` where that is missing or damaged."""
        path = folder / _ARCHITECTURE
        try:
            return cls(settings, dict(read_json(path)))
        except (OSError, ValueError, TypeError) as error:
            raise DataError.at(
                path, f"cannot be read ({error})", "a backbone's architecture", do="Run: dvc repro"
            ) from error

    @property
    def inputs(self) -> ImageInputs:
        """The pretrained backbone, or one drawn at random."""
        model = self._pretrained
        make = partial(backbone.build, self.settings, self.architecture) if model is None else partial(deepcopy, model)
        return ImageInputs(backbone=make, pixels=backbone.pixel_input(self.settings))

    @property
    def digest(self) -> str:
        """Of the architecture and the pretrained weights."""
        return digest([self.architecture, weights_digest(self._pretrained) if self._pretrained else None])

    def save(self, folder: Path) -> None:
        """The architecture; weights are the run's own."""
        write_json(folder / _ARCHITECTURE, self.architecture)


def prepare(model: ModelSettings, width: int | None) -> ImageSide:
    """The image side of a new run. width: of the data set's region features, where it has some"""
    if isinstance(model, SetSettings) and model.grid is not None:
        return Grid.prepare(model.grid)
    if not model.reads_pixels and width is None:
        raise DataError(
            "this method reads region features, and the data set has none; choose a method that reads pictures"
        )
    return Regions(None if model.reads_pixels else width)


def restore(model: ModelSettings, folder: Path, width: int | None) -> ImageSide:
    """The image side of a finished run, from its image folder. Pretrained weights are in the run's own."""
    if isinstance(model, SetSettings) and model.grid is not None:
        return Grid.restore(model.grid, folder)
    return Regions(width)
