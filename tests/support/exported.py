"""A project with a run of each kind of layout, trained, evaluated, judged and exported as released checkpoints."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.released.exporting import export_run
from tests.support.tiny_project import prepare, train_in

# run → its entry of methods
METHOD = {"one": "esa", "two": "gpo", "three": "esa_bert", "four": "esl_bert", "five": "esl_clip"}
ON_WORDS = ("one", "two")  # their vocabulary is of words, the others' of word pieces
CHANGES: dict[str, Any] = {
    "datasets.tiny.shards.images": {"samples_per_shard": 10, "max_megapixels": 1},
    "methods.esl_clip.model.strategy": "heuristic",
    **{f"runs.{name}": {"data": "tiny", "method": METHOD[name], "seed": 1} for name in ("three", "four", "five")},
}


@functools.cache
def exported() -> Path:
    """The project, made once for all tests; none may change it. `<run>/model_best.pth` is a run's export."""
    folder = Path(tempfile.mkdtemp(prefix="itr-exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    params = prepare(folder, CHANGES)
    for name in METHOD:
        train_in(folder, name)
        with contextlib.chdir(folder):
            evaluate(params, name)
            judge(params, name)
            export_run(Path("runs/tiny") / name, Path(name, "model_best.pth"))
    return folder
