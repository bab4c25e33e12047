"""A project with a run of each kind of text encoder, trained, evaluated and exported as released checkpoints."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from itrcore.evaluation.run import evaluate
from itrcore.released.export import export_run
from tests.tiny_project import project, train_in

METHOD = {"one": "esa", "two": "gpo", "three": "esa_bert"}  # run → its entry of methods
CHANGES: dict[str, Any] = {"runs.three": {"data": "tiny", "method": "esa_bert", "seed": 1, "profile": "published"}}


@functools.cache
def exported() -> Path:
    """The project, made once for all tests; none may change it. `<run>/model_best.pth` is a run's export."""
    folder = Path(tempfile.mkdtemp(prefix="itr-exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    params = project(folder, CHANGES)
    for name in METHOD:
        train_in(folder, name)
        with contextlib.chdir(folder):
            evaluate(params, name)
            export_run(Path("runs/tiny") / name, Path(name, "model_best.pth"))
    return folder
