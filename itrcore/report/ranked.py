"""Reads the ranks that a judging left, as what each image contributes to the recalls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from itrcore import intact, layout
from itrcore.data import captions
from itrcore.errors import DataError
from itrcore.protocols.uncertainty import Outcomes
from itrcore.ranking import Ranks
from itrcore.runs.folder import RANKS, SPLIT
from itrcore.runs.records import Evaluation


def images_of_captions(root: Path, data: str) -> np.ndarray:
    """(n_captions,) the image of each test caption, by its place; `DataError` where the caption table is missing or damaged."""
    table = captions.read_table(root / layout.captions(data))
    return np.from_dlpack(captions.rows_of(table, SPLIT)["position"].combine_chunks())


def read_ranks(root: Path, evaluation: Evaluation) -> Ranks:
    """The ranks behind an evaluation. `DataError` where they are missing or damaged."""
    folder = root / layout.result(evaluation.data, evaluation.name)
    intact.check(folder, {RANKS: evaluation.files[RANKS]})
    return Ranks(**load_file(folder / RANKS))


def outcomes(root: Path, evaluation: Evaluation, image_of: np.ndarray) -> Outcomes:
    """What each image contributes. `DataError` as `read_ranks`, and where captions were added or taken away since."""
    ranks = read_ranks(root, evaluation)
    held = (len(ranks.image_to_text), len(ranks.text_to_image))
    expected = (int(image_of[-1]) + 1, len(image_of))
    if held != expected:
        raise DataError.at(
            root / layout.result(evaluation.data, evaluation.name) / RANKS,
            f"ranks of {held[0]} images and {held[1]} captions",
            f"{expected[0]} and {expected[1]}, as test has now",
            do="Run: dvc repro",
        )
    return Outcomes.of(ranks, image_of)
