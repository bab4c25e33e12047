"""The image side of a run on region features. It has no weights of its own."""

from __future__ import annotations

from pathlib import Path

from itrcore.data.image_inputs import RegionInput
from itrcore.errors import DataError
from itrcore.layers.image_encoders import RegionEncoder


class Regions:
    """Region features of a width (a `SetImages`)."""

    digest = None

    def __init__(self, width: int) -> None:
        self.width = width

    def input(self, drop: float) -> RegionInput:
        """Regions, of which training drops some."""
        return RegionInput(drop)

    def encoder(self, dim: int, drop: float) -> RegionEncoder:
        """An encoder of regions; they are dropped before it sees them."""
        return RegionEncoder(self.width, dim)

    def save(self, folder: Path) -> None:
        """Nothing: run.json has the width."""


def prepare(grid: None, width: int | None) -> Regions:
    """For a new run. width: of the data set's region features. `DataError` where it has none"""
    if width is None:
        raise DataError(
            "the data set has no region features, which this method reads; choose a method that reads pictures"
        )
    return Regions(width)


def restore(grid: None, folder: Path, width: int | None) -> Regions:
    """Of a finished run. `DataError` where its run.json says no width."""
    if width is None:
        raise DataError.at(folder.parent / "run.json", "no width", "the width of the region features that it reads")
    return Regions(width)


untrained = prepare  # for measuring: there are no weights
