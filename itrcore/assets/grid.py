"""The image side of a run on grid features: the backbone that makes a grid of cells of each picture."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from itrcore.data.image_inputs import PixelInput
from itrcore.errors import DataError
from itrcore.files import digest, kind_of, read_json, write_json
from itrcore.layers.grid import GridEncoder
from itrcore.pretrained import backbone
from itrcore.pretrained.backbone import Backbone
from itrcore.pretrained.weights import weights_digest
from itrcore.settings.encoders import GridSettings

_ARCHITECTURE = "backbone.json"


class Grid:
    """Pictures, and the backbone that makes a grid of cells of each (a `SetImages`)."""

    width = None

    def __init__(
        self, settings: GridSettings, architecture: dict[str, Any], pretrained: Backbone | None = None
    ) -> None:
        self.settings, self.architecture = settings, architecture
        self._pretrained = pretrained

    def input(self, drop: float) -> PixelInput:
        """Pixels. Cells are dropped after the backbone, not here."""
        return backbone.pixel_input(self.settings)

    def encoder(self, dim: int, drop: float) -> GridEncoder:
        """An encoder to `dim` dimensions, on a copy of the pretrained backbone or on one drawn at random."""
        if self._pretrained is None:
            return GridEncoder(backbone.build(self.settings, self.architecture), dim, drop)
        return GridEncoder(deepcopy(self._pretrained), dim, drop)

    @property
    def digest(self) -> str:
        """Of the architecture and the pretrained weights."""
        return digest([self.architecture, weights_digest(self._pretrained)])

    def save(self, folder: Path) -> None:
        """The architecture; the weights are in model.safetensors."""
        write_json(folder / _ARCHITECTURE, self.architecture)


def prepare(grid: GridSettings, width: int | None) -> Grid:
    """For a new run. `DataError` where pretrained weights cannot be had."""
    if grid.shape is not None:
        return Grid(grid, backbone.random(grid, grid.shape))
    pretrained, architecture = backbone.pretrained(grid)
    return Grid(grid, architecture, pretrained)


def untrained(grid: GridSettings, width: int | None) -> Grid:
    """For measuring. `DataError` where it needs a package that is not there."""
    return Grid(grid, backbone.untrained(grid))


def restore(grid: GridSettings, folder: Path, width: int | None) -> Grid:
    """Of a finished run, whose weights are in model.safetensors. `DataError` where the architecture is missing or damaged."""
    path = folder / _ARCHITECTURE
    try:
        architecture = read_json(path)
        if not isinstance(architecture, dict):
            raise TypeError(kind_of(architecture))
        return Grid(grid, architecture)
    except (OSError, ValueError, TypeError) as error:
        raise DataError.at(
            path, f"cannot be read ({error})", "a backbone's architecture", do="Run: dvc repro"
        ) from error
