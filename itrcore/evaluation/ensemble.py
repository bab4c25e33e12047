"""Ensembles: the mean of stored similarity matrices, evaluated like a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itrcore import layout
from itrcore.arrays import open_array
from itrcore.config import Params
from itrcore.errors import DataError
from itrcore.evaluation.results import images_of_test, read_output, write_result
from itrcore.files import replacing

_ROWS = 256


def evaluate_ensemble(params: Params, name: str) -> Path:
    """Evaluate ensemble `name` from its members' stored matrices; returns its folder, like a run's."""
    settings = params.ensemble(name)
    data, members = settings.data, settings.runs
    results = [
        read_output(layout.evaluation(data, member) / "metrics.json", f"evaluate@{member}") for member in members
    ]
    digests = {result["data_digest"] for result in results}
    if len(digests) > 1:
        raise DataError(
            f"ensembles.{name}: its runs were trained on other states of {data}; run dvc repro to renew them"
        )
    images = images_of_test(data)
    image_of = np.repeat(np.arange(len(images)), [len(image.captions) for image in images])
    with replacing(layout.ensemble(data, name)) as temporary:
        temporary.mkdir(parents=True)
        matrix = mean_of(
            [layout.evaluation(data, member) / "similarity.npy" for member in members], temporary / "similarity.npy"
        )
        result = {
            "kind": "ensemble",
            "name": name,
            "members": members,
            "family": "+".join(sorted({result["family"] for result in results})),
            **dict.fromkeys(("origin", "checkpoint", "method", "seed", "profile", "train_seconds", "precision")),
            **dict.fromkeys(("encode_image_ms", "encode_caption_ms")),
            **dict.fromkeys(("score_image_ms", "score_caption_ms")),
            **{key: results[0][key] for key in ("data", "data_digest", "device")},
            "features": ", ".join(dict.fromkeys(result["features"] for result in results)),
            "selected_on": ", ".join(sorted({result["selected_on"] for result in results})),
            "parameters": sum(result["parameters"] for result in results),
            "code_version": ", ".join(sorted({result["code_version"] for result in results})),
        }
        write_result(temporary, result, matrix, image_of, images, params.evaluation)
    return layout.ensemble(data, name)


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
