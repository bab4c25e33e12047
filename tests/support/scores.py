"""The stored scores of a run, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itrcore.files import read_json
from itrcore.runs.scored import open_scores


def similarities(run: str, split: str = "test", data: str = "tiny", root: Path = Path(".")) -> np.ndarray:
    """(n_images, n_captions), of a run that is evaluated in a project."""
    folder = root / "evaluations" / data / run
    return open_scores(folder, split, read_json(folder / "evaluation.json")["files"], "evaluate").whole()
