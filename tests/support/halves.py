"""A protocol for small test splits: the mean over folds of four images."""

from __future__ import annotations

from itrcore.protocols.coco_1k import mean_of_folds
from itrcore.protocols.contract import Protocol, recalls

PROTOCOL = Protocol(
    "Halves", recalls(ranked=True), lambda judged: mean_of_folds(judged.similarity, judged.image_of, 4), "Of 4 images."
)
