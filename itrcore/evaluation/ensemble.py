"""Ensembles: the mean of stored similarity matrices, judged like a run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itrcore import intact, layout
from itrcore.arrays import new_array, open_array
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.files import replacing, sha256_of_all
from itrcore.protocols.contract import Judged
from itrcore.protocols.results import write_results
from itrcore.runs.folder import SCORES, SIMILARITY, SPLIT, read
from itrcore.runs.records import Evaluation, Measured, Scores
from itrcore.settings.params import Params

_ROWS = 256
# What decides an ensemble's scores, and what its results say of each member.
_RECORDED = {
    "files", "family", "features", "selected_on", "parameters", "data_digest", "device", "code_version",
}  # fmt: skip


def members(params: Params, name: str) -> dict[str, Scores]:
    """The scores of an ensemble's members, by run. `DataError` where they are missing, or of different states of the data set."""
    settings = params.ensemble(name)
    scores = {
        run: read(layout.evaluation(settings.data, run) / SCORES, Scores, f"evaluate@{run}") for run in settings.runs
    }
    if len({member.test_digest for member in scores.values()}) > 1:
        raise DataError(
            f"ensembles.{name}: its runs were evaluated on different states of {settings.data}; run dvc repro to renew them"
        )
    return scores


def recorded(scores: dict[str, Scores]) -> dict[str, Any]:
    """What decides an ensemble of these members, as JSON values."""
    return {run: member.model_dump(mode="json", include=_RECORDED) for run, member in scores.items()}


def evaluate_ensemble(params: Params, name: str) -> Evaluation:
    """Average the stored matrices of its members, judge the mean, and write the same results as for a run.

    `DataError` where a matrix is not the one that its run's evaluation.json describes.
    """
    settings = params.ensemble(name)
    data, scores = settings.data, members(params, name)
    paths = {run: layout.evaluation(data, run) / SIMILARITY for run in scores}
    for run, path in paths.items():
        intact.check(path.parent, {SIMILARITY: scores[run].files[SIMILARITY]})
    with replacing(layout.ensemble(data, name)) as temporary:
        temporary.mkdir(parents=True)
        matrix = mean_of(list(paths.values()), temporary / SIMILARITY)
        measured = _measured(name, list(scores.values()), sha256_of_all(temporary))
        dataset = params.dataset(data)
        judged = Judged(name, matrix, captions.read(layout.captions(data), SPLIT), cxc=dataset.ratings)
        with replacing(layout.result(data, name)) as results:
            return write_results(results, measured, None, None, judged, dataset.protocols, params.evaluation)


def _measured(name: str, scores: Sequence[Scores], files: dict[str, str]) -> Measured:
    first = scores[0]
    return Measured(
        kind="ensemble",
        name=name,
        data=first.data,
        family="+".join(sorted({str(member.family) for member in scores})),
        members=tuple(member.name for member in scores),
        features=", ".join(dict.fromkeys(member.features for member in scores)),
        selected_on=", ".join(sorted({member.selected_on for member in scores})),
        parameters=sum(member.parameters for member in scores),
        device=first.device,
        code_version=", ".join(sorted({member.code_version for member in scores})),
        data_digest=first.data_digest,
        files=files,
    )


def mean_of(paths: Sequence[Path], out: Path) -> np.ndarray:
    """Write the mean of the matrices to `out` (float32 `.npy`) and return it memory-mapped.

    `DataError` where the matrices differ in shape.
    """
    matrices = [open_array(path) for path in paths]
    for path, matrix in zip(paths, matrices, strict=True):
        if matrix.shape != matrices[0].shape:
            raise DataError.at(path, f"shape {matrix.shape}", f"{matrices[0].shape}, as in {paths[0]}")
    with replacing(out) as temporary:
        mean = new_array(temporary, matrices[0].shape)
        for start in range(0, len(mean), _ROWS):
            rows = slice(start, start + _ROWS)
            mean[rows] = np.mean([matrix[rows] for matrix in matrices], axis=0, dtype=np.float64)
        mean.flush()
    return open_array(out)
