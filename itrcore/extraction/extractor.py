"""What computes region features of pictures: the contract, and where the cells of a grid lie in a picture.

extractor = load(settings)            # itrcore/extraction/load.py; settings, or what a run's record says of its features
extractor([picture, other]).features  # (2, regions, width), of PIL pictures in RGB
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

Frame = tuple[float, float, float, float]  # x1, y1, x2, y2: the part of a picture that a model is shown, in its pixels


@dataclass(frozen=True)
class Extracted:
    """Of n pictures. All of one extractor have the same number of regions and the same width.

    features: (n, regions, width) float32
    boxes: (n, regions, 4) float32, x1 y1 x2 y2 in pixels of each picture
    """

    features: np.ndarray
    boxes: np.ndarray


class Extractor(ABC):
    """A pretrained model with its own way to prepare pictures.

    description: JSON values from which `load` makes the same extractor again: the settings, the SHA-256 of the weights and how
        pictures are prepared
    width: of each region's features
    """

    width: int

    def __init__(self, description: dict[str, Any], device: torch.device) -> None:
        self.description, self.device = description, device

    def __call__(self, pictures: Sequence[Image]) -> Extracted:
        """Features and boxes of pictures in RGB, at least one. The same batch gives the same values on the same machine."""
        with torch.inference_mode():
            return self._extract(pictures)

    @abstractmethod
    def _extract(self, pictures: Sequence[Image]) -> Extracted: ...


def on_grid(cells: Tensor, frames: Sequence[Frame], sizes: Sequence[tuple[int, int]]) -> Extracted:
    """Cells of a grid as regions, row by row.

    cells: (n, width, rows, columns); frames: of each picture; sizes: width and height of each picture, which boxes stay within
    """
    rows, columns = cells.shape[-2:]
    edges_y, edges_x = np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1)
    y1, x1 = (grid.ravel() for grid in np.meshgrid(edges_y[:-1], edges_x[:-1], indexing="ij"))
    y2, x2 = (grid.ravel() for grid in np.meshgrid(edges_y[1:], edges_x[1:], indexing="ij"))
    shares = np.stack([x1, y1, x2, y2], axis=1)
    boxes = []
    for (left, top, right, bottom), size in zip(frames, sizes, strict=True):
        placed = shares * ([right - left, bottom - top] * 2) + [left, top] * 2
        boxes.append(placed.clip(0, [*size, *size]))
    features = cells.flatten(2).transpose(1, 2).float().cpu().contiguous().numpy()
    return Extracted(features, np.array(boxes, np.float32))
