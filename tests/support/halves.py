"""Protocols for small test splits: the mean over folds of four images; one that reads vectors."""

from __future__ import annotations

from itrcore.protocols.coco_1k import mean_of_folds
from itrcore.protocols.contract import Figure, Judged, Protocol, recalls

PROTOCOL = Protocol("Halves", recalls(ranked=True), lambda judged: mean_of_folds(judged, 4), "Of 4 images.")


def _nearest_is_of_the_image(judged: Judged) -> dict[str, float]:
    if judged.vectors is None:
        return {}
    images, captions = judged.vectors
    nearest = (captions @ images.T).argmax(axis=1)
    return {"t2i_r1": float(100.0 * (nearest == judged.image_of).mean())}


OF_VECTORS = Protocol("Of vectors", (Figure("t2i_r1", "text → image", "R@1"),), _nearest_is_of_the_image)
