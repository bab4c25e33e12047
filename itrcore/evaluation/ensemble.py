"""Ensembles: the mean of stored similarity matrices, read in blocks of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itrcore.data.scan import open_array
from itrcore.errors import DataError
from itrcore.files import replacing

_ROWS = 256


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
