"""The image side of a run on grid features: the backbone that makes a grid of cells of each picture."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from itrcore.data.image_inputs import PixelInput
from itrcore.errors import DataError
from itrcore.files import digest, read_json, write_json
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
        """Pixels; cells are dropped behind the backbone."""
        return backbone.pixel_input(self.settings)

    def encoder(self, dim: int, drop: float) -> GridEncoder:
        """On a copy of the pretrained backbone, or on one drawn at random."""
        model = self._pretrained
        made = backbone.build(self.settings, self.architecture) if model is None else deepcopy(model)
        return GridEncoder(made, dim, drop)

    @property
    def digest(self) -> str:
        """Of the architecture and the pretrained weights."""
        return digest([self.architecture, weights_digest(self._pretrained) if self._pretrained else None])

    def save(self, folder: Path) -> None:
        """The architecture; weights are the run's own."""
        write_json(folder / _ARCHITECTURE, self.architecture)


def prepare(grid: GridSettings, width: int | None) -> Grid:
    """For a new run. `DataError` where pretrained weights cannot be had."""
    if grid.shape is not None:
        return Grid(grid, backbone.random(grid, grid.shape))
    pretrained, architecture = backbone.pretrained(grid)
    return Grid(grid, architecture, pretrained)


def restore(grid: GridSettings, folder: Path, width: int | None) -> Grid:
    """Of a finished run; pretrained weights are in the run's own. `DataError` where the architecture is missing or damaged."""
    path = folder / _ARCHITECTURE
    try:
        return Grid(grid, dict(read_json(path)))
    except (OSError, ValueError, TypeError) as error:
        raise DataError.at(
            path, f"cannot be read ({error})", "a backbone's architecture", do="Run: dvc repro"
        ) from error
