"""Reads the ranks that a judging left, and which caption is of which image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from itrcore import intact, layout
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.ranking import Ranks
from itrcore.runs.folder import RANKS, SPLIT
from itrcore.runs.records import Evaluation

_RANKS = "int32 ranks from 1, image_to_text and text_to_image"


def images_of_captions(root: Path, data: str) -> np.ndarray:
    """(n_captions,) the image of each test caption, by its place; `DataError` where the caption table is missing or damaged."""
    table = captions.read_table(root / layout.captions(data))
    return np.from_dlpack(captions.rows_of(table, SPLIT)["position"].combine_chunks())


def read_ranks(root: Path, evaluation: Evaluation, image_of: np.ndarray) -> Ranks:
    """The ranks behind an evaluation. image_of: as `images_of_captions`

    `DataError` where they are missing, damaged or something else, or captions were added or taken away since.
    """
    path = root / layout.result(evaluation.data, evaluation.name) / RANKS
    intact.check(path.parent, {RANKS: evaluation.files[RANKS]})
    try:
        ranks = Ranks(**load_file(path))
    except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise DataError.at(path, f"not readable ({error!r})", _RANKS, do="Run: dvc repro") from error
    sides = (ranks.image_to_text, ranks.text_to_image)
    if any(side.dtype != np.int32 or side.ndim != 1 or not side.size or side.min() < 1 for side in sides):
        raise DataError.at(path, "something else", _RANKS, do="Run: dvc repro")
    held, expected = [len(side) for side in sides], [int(image_of[-1]) + 1, len(image_of)]
    if held != expected:
        raise DataError.at(
            path,
            f"ranks of {held[0]} images and {held[1]} captions",
            f"{expected[0]} and {expected[1]}, as test has now",
            do="Run: dvc repro",
        )
    return ranks
