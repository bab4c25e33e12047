"""Figures and examples from a similarity matrix, of a run or of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.data.captions import Image
from itrcore.files import read_json, write_json
from itrcore.protocols.ranking import metrics
from itrcore.protocols.retrieved import retrieved
from itrcore.runs.reading import SPLIT
from itrcore.settings.evaluation import EvaluationSettings


def write_result(
    folder: Path,
    described: Mapping[str, Any],
    matrix: np.ndarray,
    images: list[Image],
    settings: EvaluationSettings,
) -> dict[str, float]:
    """Rank the matrix (n_images, n_captions); write metrics.json and retrieved.json into a new folder. Returns the metrics.

    described: what metrics.json says besides; images: of the split, in order
    """
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    figures = metrics(matrix, image_of, described["name"])
    shape = {"split": SPLIT, "n_images": matrix.shape[0], "n_captions": matrix.shape[1]}
    write_json(folder / "metrics.json", {**described, **shape, "metrics": figures})
    write_json(folder / "retrieved.json", retrieved(matrix, images, image_of, settings.queries, settings.retrieved))
    return figures


def summary(results: Path) -> str:
    """One line of a folder of results."""
    found = read_json(results / "metrics.json")
    values = found["metrics"]
    return (
        f"{found['name']}: test rsum {values['rsum']:.1f}, i2t R@1 {values['i2t_r1']:.1f}, "
        f"t2i R@1 {values['t2i_r1']:.1f}"
    )


def write_metrics(name: str, figures: Mapping[str, float], dev_rsum: float | None) -> None:
    """The figures that DVC compares. dev_rsum: of the best evaluation on dev, of what was trained here"""
    shown = {"test/rsum": figures["rsum"]} | ({} if dev_rsum is None else {"dev/rsum": dev_rsum})
    write_json(layout.metrics(name), {key: round(value, 3) for key, value in sorted(shown.items())})
