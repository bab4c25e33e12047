"""The result folder of a run or an ensemble on test: metrics.json, similarity.npy and retrieved.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.config import EvaluationSettings
from itrcore.data import captions
from itrcore.data.captions import Image
from itrcore.errors import DataError
from itrcore.evaluation.ranking import metrics
from itrcore.evaluation.retrieved import retrieved
from itrcore.files import read_json, write_json

SPLIT = "test"


def write_result(
    folder: Path,
    result: dict[str, Any],
    matrix: np.ndarray,
    image_of: np.ndarray,
    images: list[Image],
    settings: EvaluationSettings,
) -> None:
    """Rank the matrix (n_images, n_captions) and write metrics.json (`result` and the metrics) and retrieved.json.

    image_of: (n_captions,); images: of the split, in order
    """
    value = {
        **result,
        "split": SPLIT,
        "n_images": matrix.shape[0],
        "n_captions": matrix.shape[1],
        "metrics": metrics(matrix, image_of, result["name"]),
    }
    write_json(folder / "metrics.json", value)
    write_json(folder / "retrieved.json", retrieved(matrix, images, image_of, settings.queries, settings.retrieved))


def images_of_test(data: str) -> list[Image]:
    """The images of a data set's test split, in order."""
    return captions.read(layout.captions(data), SPLIT)


def read_output(path: Path, stage: str) -> Any:
    """Read a stage's JSON output; `DataError` names the stage to run where it cannot be read."""
    try:
        return read_json(path)
    except FileNotFoundError:
        found = "no such file"
    except ValueError as error:
        found = f"not readable as JSON ({error})"
    raise DataError.at(path, found, f"the output of stage {stage}", do=f"Run: dvc repro {stage}")
