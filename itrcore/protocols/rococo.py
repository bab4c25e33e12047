"""RoCOCO (Park et al., ECCV 2024 workshop): image → text where altered captions of all test images stand among the right ones.

As in its released code a picture's own captions are right, all other test captions and all altered ones, also its own altered
ones, are wrong. One kind of altered captions at a time is in the gallery.
"""

from __future__ import annotations

import numpy as np

from itrcore.data.altered import KINDS
from itrcore.errors import DataError
from itrcore.protocols.contract import RECALLS, Figure, Judged, Protocol
from itrcore.protocols.uncertainty import Outcomes

_ROWS = 512  # images whose similarities are looked through at once


def _parts(judged: Judged) -> dict[str, np.ndarray]:
    """Figure → (n_images,) whether each image counts in it."""
    if judged.altered is None:
        return {}
    ranks, n_images = judged.ranks.image_to_text, len(judged.images)
    first = np.flatnonzero(np.diff(judged.image_of, prepend=-1))
    right, best = np.empty(n_images, np.float32), np.empty(n_images, np.float32)
    for start in range(0, n_images, _ROWS):
        rows = np.asarray(judged.similarity[start : start + _ROWS])
        best[start : start + _ROWS] = rows.max(axis=1)
        for image, row in enumerate(rows, start):
            right[image] = row[first[image] : first[image] + len(judged.images[image].captions)].max()
    parts = dict[str, np.ndarray]()
    for kind in KINDS:
        scores = judged.altered[kind]
        if len(scores) != n_images:
            raise DataError(
                f"{judged.name}: altered captions are scored with {len(scores):,} images; expected {n_images:,}"
            )
        among = ranks + (scores >= right[:, None]).sum(axis=1)
        parts |= {f"{kind}_r{k}": among <= k for k in (1, 5, 10)}
        parts[f"{kind}_false"] = scores[:, 0] >= best
    return parts


def _measure(judged: Judged) -> dict[str, float]:
    return {key: 100.0 * float(hits.mean()) for key, hits in judged.once("rococo", lambda: _parts(judged)).items()}


def _outcomes(judged: Judged) -> Outcomes | None:
    parts = judged.once("rococo", lambda: _parts(judged))
    return Outcomes.of_parts({key: (hits, np.ones(len(hits))) for key, hits in parts.items()}) if parts else None


PROTOCOL = Protocol(
    "RoCOCO, image → text among altered captions",
    tuple(
        figure
        for kind in KINDS
        for figure in (
            *(Figure(f"{kind}_{key}", kind.replace("_", " "), heading) for key, heading in RECALLS.items()),
            Figure(f"{kind}_false", kind.replace("_", " "), "false", "missed"),
        )
    ),
    _measure,
    "Recalls of images among all test captions and the altered ones of all test images, which are wrong, as are ties. False: "
    "percent of images whose best caption is an altered one. An ensemble has no such figures.",
    _outcomes,
)
