"""Ensembles: the mean of stored similarity matrices, evaluated like a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.arrays import open_array
from itrcore.errors import DataError
from itrcore.evaluation.figures import write_metrics, write_result
from itrcore.files import replacing, sha256
from itrcore.runs.reading import SCORED, SIMILARITY, images_of_test, read_output
from itrcore.settings.params import Params

Record = dict[str, dict[str, Any]]

_ROWS = 256


def members(params: Params, name: str) -> Record:
    """What decides an ensemble's scores: its members' similarities, which test split they are of, and what is said of them.

    `DataError` where they are of different states of the data set.
    """
    settings = params.ensemble(name)
    found = {
        run: read_output(layout.evaluation(settings.data, run) / SCORED, f"evaluate@{run}") for run in settings.runs
    }
    if len({scored["test_digest"] for scored in found.values()}) > 1:
        raise DataError(
            f"ensembles.{name}: its runs were evaluated on other states of {settings.data}; run dvc repro to renew them"
        )
    said = ("family", "features", "selected_on", "parameters", "data_digest", "device", "code_version")
    return {run: {key: scored[key] for key in ("similarity_sha256", *said)} for run, scored in found.items()}


def evaluate_ensemble(params: Params, name: str) -> Path:
    """Average its members' stored matrices and judge the mean; returns the folder of its results, like a run's.

    `DataError` where a matrix is not the one that its run's evaluation.json describes.
    """
    settings = params.ensemble(name)
    data, record = settings.data, members(params, name)
    paths = {run: layout.evaluation(data, run) / SIMILARITY for run in record}
    for run, path in paths.items():
        if sha256(path) != record[run]["similarity_sha256"]:
            raise DataError.at(
                path, "its bytes have changed", "what evaluate wrote", do=f"Run: dvc repro --force evaluate@{run}"
            )
    facts = list(record.values())
    with replacing(layout.ensemble(data, name)) as temporary:
        temporary.mkdir(parents=True)
        matrix = mean_of(list(paths.values()), temporary / SIMILARITY)
        described = {
            "kind": "ensemble",
            "name": name,
            "members": settings.runs,
            "family": "+".join(sorted({one["family"] for one in facts})),
            **dict.fromkeys(("origin", "checkpoint", "method", "seed", "profile", "train_seconds", "precision")),
            **dict.fromkeys(("encode_image_ms", "encode_caption_ms")),
            **dict.fromkeys(("score_image_ms", "score_caption_ms")),
            "data": data,
            **{key: facts[0][key] for key in ("data_digest", "device")},
            "features": ", ".join(dict.fromkeys(one["features"] for one in facts)),
            "selected_on": ", ".join(sorted({one["selected_on"] for one in facts})),
            "parameters": sum(one["parameters"] for one in facts),
            "code_version": ", ".join(sorted({one["code_version"] for one in facts})),
        }
        with replacing(layout.result(data, name)) as judged:
            figures = write_result(judged, described, matrix, images_of_test(data), params.evaluation)
        write_metrics(name, figures, None)
    return layout.result(data, name)


def mean_of(paths: Sequence[Path], out: Path) -> np.ndarray:
    """Write the mean of the matrices to `out` (float32 `.npy`) and return it memory-mapped.

    `DataError` where the matrices differ in shape.
    """
    matrices = [open_array(path) for path in paths]
    for path, matrix in zip(paths, matrices, strict=True):
        if matrix.shape != matrices[0].shape:
            raise DataError.at(path, f"found shape {matrix.shape}", f"{matrices[0].shape}, as in {paths[0]}")
    with replacing(out) as temporary:
        mean = np.lib.format.open_memmap(temporary, "w+", np.float32, matrices[0].shape)
        for start in range(0, len(mean), _ROWS):
            rows = slice(start, start + _ROWS)
            mean[rows] = np.mean([matrix[rows] for matrix in matrices], axis=0, dtype=np.float64)
        mean.flush()
    return open_array(out)
