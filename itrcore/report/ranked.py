"""Reads the ranks and best answers that a judging left, and which caption is of which image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError

from itrcore import intact, layout
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.protocols import outcomes_file, ranked
from itrcore.protocols.ranked import Ranked
from itrcore.protocols.uncertainty import Outcomes
from itrcore.runs.folder import OUTCOMES, RANKS, SPLIT
from itrcore.runs.records import Evaluation


def images_of_captions(root: Path, data: str) -> np.ndarray:
    """(n_captions,) the image of each test caption, by its place; `DataError` where the caption table is missing or damaged."""
    table = captions.read_table(root / layout.captions(data))
    return np.from_dlpack(captions.rows_of(table, SPLIT)["position"].combine_chunks())


def read_outcomes(root: Path, evaluation: Evaluation, protocol: str, n_images: int) -> Outcomes | None:
    """What each image contributes to the figures by a protocol; None where it has none. `DataError` where it is damaged."""
    if OUTCOMES not in evaluation.files:
        return None
    path = root / layout.result(evaluation.data, evaluation.name) / OUTCOMES
    intact.check(path.parent, {OUTCOMES: evaluation.files[OUTCOMES]})
    try:
        found = outcomes_file.read(path, protocol)
    except (AttributeError, KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise DataError.at(path, f"not readable ({error!r})", "outcomes of protocols", do="Run: dvc repro") from error
    if found is not None and len(found.hits) != n_images:
        raise DataError.at(
            path, f"outcomes of {len(found.hits)} images", f"{n_images}, as test has now", do="Run: dvc repro"
        )
    return found


def read_ranks(root: Path, evaluation: Evaluation, image_of: np.ndarray) -> Ranked:
    """The ranks and best answers behind an evaluation. image_of: as `images_of_captions`

    `DataError` where they are missing, damaged or something else, or captions were added or taken away since.
    """
    path = root / layout.result(evaluation.data, evaluation.name) / RANKS
    intact.check(path.parent, {RANKS: evaluation.files[RANKS]})
    try:
        found = ranked.read(path)
    # A changed size may be any.
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise DataError.at(path, f"not readable ({error})", "ranks of every query", do="Run: dvc repro") from error
    held, expected = (
        [len(found.image_to_text), len(found.text_to_image)],
        [int(image_of[-1]) + 1, len(image_of)],
    )
    if held != expected:
        raise DataError.at(
            path,
            f"ranks of {held[0]} images and {held[1]} captions",
            f"{expected[0]} and {expected[1]}, as test has now",
            do="Run: dvc repro",
        )
    return found
