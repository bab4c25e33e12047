"""What a training and an evaluation really load is in their records: code that is loaded by name must be named there too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_project import PARAMS, ROOT, prepare

pytestmark = pytest.mark.slow

# Everything is loaded anew each time, but for libraries, whose loading takes most of the time.
PROGRAM = """
import json, sys

def missing(record):
    from itrcore import code
    empty = code.text_digest("'A docstring.'")  # a package that says nothing, such as that of another method's settings
    loaded = [name for name in sys.modules if name.startswith("itrcore.") and code._read(name)[0] != empty]
    return sorted(name for name in loaded if name not in record["code"] and not code._neutral(name)), len(loaded)

def train(name):
    from itrcore.runs import inputs
    from itrcore.settings.load import load
    from itrcore.runs.observer import Observer
    from itrcore.training.train import train
    train(load(), name, Observer())
    return missing(inputs.training(load(), name))

def evaluate(name):
    from itrcore.evaluation.evaluate import evaluate
    from itrcore.runs import inputs
    from itrcore.settings.load import load
    evaluate(load(), name)
    return missing(inputs.evaluation(load(), name))

found = {}
for name in sys.argv[1:]:
    for work in (train, evaluate):
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "itrcore"]:
            del sys.modules[loaded]
        found.setdefault(name, []).append(work(name))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a short run of every method."""
    changes: dict[str, Any] = {"datasets.tiny.shards.images": {"samples_per_shard": 20, "max_megapixels": 1}}
    short = {"epochs": 2, "evaluations": 1, "batch_size": 60, "schedule": {"kind": "step", "epochs": [], "factor": 0.1}}
    for method in PARAMS["methods"]:
        changes |= {f"methods.{method}.recipe.{key}": value for key, value in short.items()}
        changes[f"runs.{method}"] = {"data": "tiny", "method": method, "seed": 7}
    path: Path = tmp_path_factory.mktemp("loaded")
    prepare(path, changes)
    return path


def test_a_run_loads_no_code_that_its_records_lack(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *PARAMS["methods"]],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == list(PARAMS["methods"])
    for name, both in found.items():
        for missing, loaded in both:
            assert not missing, f"{name} loads {missing}"
            assert loaded > 30
