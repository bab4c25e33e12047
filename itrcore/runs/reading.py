"""What the stages that score and judge leave for each other: names of files, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.data import captions
from itrcore.data.captions import Image
from itrcore.errors import DataError
from itrcore.files import read_json

SPLIT = "test"
SIMILARITY, SCORED = "similarity.npy", "evaluation.json"  # in the folder of a run's scores


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
