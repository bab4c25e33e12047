"""What an evaluation leaves of a split: the vectors of a method of one vector per item, else the similarities of all pairs.

evaluations/<data>/<run>/
  test/vectors.safetensors    images (n_images, d) and captions (n_captions, d), float16 or float32; or
  test/similarity.npy         (n_images, n_captions) float32
  dev/…                       the same of the part of dev that chose the run's weights: what ensembles are chosen by

Of COCO's 5,000 × 25,000 test pairs the similarities take 500 MB, vectors of 1,024 values 123 MB or 61 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from itrcore import intact
from itrcore.arrays import open_array
from itrcore.errors import DataError

SIMILARITY, VECTORS = "similarity.npy", "vectors.safetensors"
DEV = "dev"
_SIDES = ("images", "captions")
_ROWS = 512  # images whose similarities are computed at once
_ALL = slice(None)


@dataclass(frozen=True)
class Scored:
    """The similarities of all pairs of a split, of which any block can be had without the rest.

    similarity: (n_images, n_captions) float32, may be memory-mapped; or
    vectors: (n_images, d) and (n_captions, d) float32, whose inner products are the similarities
    """

    similarity: np.ndarray | None = None
    vectors: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Images and captions."""
        if self.vectors is not None:
            return len(self.vectors[0]), len(self.vectors[1])
        assert self.similarity is not None
        return self.similarity.shape[0], self.similarity.shape[1]

    def block(self, images: slice = _ALL, captions: slice = _ALL) -> np.ndarray:
        """The similarities of some images with some captions, float32."""
        if self.vectors is not None:
            product: np.ndarray = self.vectors[0][images] @ self.vectors[1][captions].T
            return product
        assert self.similarity is not None
        return np.asarray(self.similarity[images, captions])

    def whole(self) -> np.ndarray:
        """All similarities, (n_images, n_captions) float32: as they are stored, or computed, in memory."""
        if self.similarity is not None:
            return self.similarity
        matrix = np.empty(self.shape, np.float32)
        for start in range(0, len(matrix), _ROWS):
            rows = slice(start, start + _ROWS)
            matrix[rows] = self.block(rows)
        return matrix


def save_vectors(folder: Path, images: np.ndarray, captions: np.ndarray, dtype: str) -> None:
    """Write the vectors of a split into its folder. dtype: float16 or float32"""
    arrays = (images, captions)
    save_file(
        {side: array.astype(dtype) for side, array in zip(_SIDES, arrays, strict=True)},
        folder / VECTORS,
    )


def open_scores(folder: Path, split: str, files: Mapping[str, str], stage: str) -> Scored:
    """The scores of a split. folder: of the evaluation; files: path below it → SHA-256, as its record has them

    `DataError` where they are missing, damaged, or not what a stage of this name writes.
    """
    names = {name: f"{split}/{name}" for name in (SIMILARITY, VECTORS)}
    held = {name: path for name, path in names.items() if path in files}
    intact.check(folder, {path: files[path] for path in held.values()})
    if SIMILARITY in held:
        return Scored(open_array(folder / held[SIMILARITY]))
    path = folder / names[VECTORS]
    if VECTORS not in held:
        raise DataError.at(folder, f"no scores of {split}", "what this version writes", do=f"Run: dvc repro {stage}")
    try:
        vectors = load_file(path)
        images, captions = (vectors[side] for side in _SIDES)
    except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise DataError.at(
            path, f"not readable ({error!r})", f"{' and '.join(_SIDES)}", do=f"Run: dvc repro {stage}"
        ) from error
    sides = (images, captions)
    if (
        any(side.ndim != 2 or side.dtype not in (np.float16, np.float32) for side in sides)
        or images.shape[1] != captions.shape[1]
    ):
        raise DataError.at(
            path,
            "arrays of another shape or type",
            "vectors of one width, float16 or float32",
            do=f"Run: dvc repro {stage}",
        )
    return Scored(vectors=(images.astype(np.float32, copy=False), captions.astype(np.float32, copy=False)))
