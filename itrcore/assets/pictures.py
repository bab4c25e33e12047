"""The image side of a run whose CLIP sees the pictures. It is empty: the text side brings both towers."""

from __future__ import annotations

from pathlib import Path


class Pictures:
    """Pictures as they are (an `ImageSide`)."""

    width = None
    digest = None

    def save(self, folder: Path) -> None:
        """Nothing."""


def prepare(grid: None, width: int | None) -> Pictures:
    """For a new run."""
    return Pictures()


def untrained(grid: None, width: int | None) -> Pictures:
    """For measuring."""
    return Pictures()


def restore(grid: None, folder: Path, width: int | None) -> Pictures:
    """Of a finished run."""
    return Pictures()
