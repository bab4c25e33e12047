"""altered.safetensors: of each kind of altered captions the highest similarities with each image of test, (n_images, k) float32.

k is 10, or the number of these captions if there are fewer; the highest first. Recalls up to R@10 need no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from itrcore import intact
from itrcore.errors import DataError

ALTERED = "altered.safetensors"
KEPT = 10

Distractors = Mapping[str, np.ndarray]  # kind → scores, as above


def save(path: Path, found: Distractors) -> None:
    """Write them."""
    save_file({kind: np.ascontiguousarray(scores, np.float32) for kind, scores in found.items()}, path)


def open_distractors(folder: Path, split: str, files: Mapping[str, str], stage: str) -> Distractors:
    """Those of a split. folder: of the evaluation; files: path below it → SHA-256, as its record has them

    `DataError` where they are missing, damaged, or not what a stage of this name writes.
    """
    name = f"{split}/{ALTERED}"
    if name not in files:
        raise DataError.at(
            folder, "no scores of altered captions", "those of the data set", do=f"Run: dvc repro {stage}"
        )
    intact.check(folder, {name: files[name]})
    try:
        found: dict[str, np.ndarray] = load_file(folder / name)
        if not found or any(
            scores.ndim != 2 or scores.dtype != np.float32 or not np.isfinite(scores).all() for scores in found.values()
        ):
            raise ValueError("other arrays than finite scores of each image")
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise DataError.at(
            folder / name, f"not readable ({error})", "scores of altered captions", do=f"Run: dvc repro {stage}"
        ) from error
    return found
