"""Two small runs to be used: on pictures, with a vector each; on regions, without. Names are the embedded experiment's."""

from __future__ import annotations

from typing import Any

from tests.support.tiny_project import PIXELS

VECTORS, SETS = "scenes-esl_h_clip-1", "scenes-saf_bigru-1"
CHANGES: dict[str, Any] = {
    "datasets.tiny.shards.images": PIXELS["datasets.tiny.shards.images"],
    "runs": {
        VECTORS: {"data": "tiny", "method": "esl_clip", "seed": 1},
        SETS: {"data": "tiny", "method": "saf", "seed": 1},
    },
    "ensembles": {},
    "methods.saf.recipe.epochs": 2,
    "methods.saf.recipe.schedule.epochs": [1],
    "methods.esl_clip.recipe.epochs": 1,
}
