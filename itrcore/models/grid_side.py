"""The image side of a run on grid features: the backbone that makes a grid of cells of each picture."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.files import digest, read_json, write_json
from itrcore.models import backbone
from itrcore.models.backbone import Backbone
from itrcore.models.encoder_settings import GridSettings
from itrcore.models.grid import GridEncoder
from itrcore.models.image import ImageInputs
from itrcore.models.published import weights_digest
from itrcore.models.settings import ModelSettings, SetSettings

_ARCHITECTURE = "backbone.json"


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
        """On the pretrained backbone, or on one drawn at random."""
        return ImageInputs(grid=self._encoder, pixels=backbone.pixel_input(self.settings))

    def _encoder(self, dim: int, drop: float) -> GridEncoder:
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


def prepare(model: ModelSettings, width: int | None) -> Grid:
    """For a new run. `DataError` where pretrained weights cannot be had."""
    assert isinstance(model, SetSettings) and model.grid is not None
    return Grid.prepare(model.grid)


def restore(model: ModelSettings, folder: Path, width: int | None) -> Grid:
    """Of a finished run. Pretrained weights are in the run's own."""
    assert isinstance(model, SetSettings) and model.grid is not None
    return Grid.restore(model.grid, folder)
