"""What image sides of imported runs are built from: region features, or the pictures that CLIP sees. A grid: `resnet.py`."""

from __future__ import annotations

from itrcore.assets.pictures import Pictures
from itrcore.assets.regions import Regions
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Weights, axis

_WIDTH = axis("regions.fc.weight", 1)


def regions(checkpoint: Checkpoint, weights: Weights, grid: None) -> Regions:
    """Region features as wide as the first linear layer over them reads."""
    return Regions(_WIDTH(weights) or 1)


def pictures(checkpoint: Checkpoint, weights: Weights, grid: None) -> Pictures:
    """Pictures, which the text side's CLIP sees."""
    return Pictures()
