"""Fixtures shared by the tests, where real data lies when it is there, and how `-n auto` spreads the files over processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from itrcore.cores import cores
from itrcore.errors import ConfigError
from itrcore.settings.load import load
from tests.support import small_experiment

ROOT = Path(__file__).parents[1]
LONGEST = (  # by processor time, as far as it was measured; the last ones take half a minute
    "training/test_learning.py",
    "stages/test_pipeline.py",
    "flows/test_flow.py",
    "flows/test_up.py",
    "training/test_resume.py",
    "faults/test_faults.py",
    "flows/test_ends.py",
    "tracking/test_processes.py",
    "sweeps/test_sweep.py",
    "methods/test_add_a_method.py",
    "own_data/test_example.py",
    "training/test_several_processes.py",
    "training/test_compiled.py",
    "test_style.py",
)


def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: the cores that this process may use, hyperthreads and affinity counted, and no more than memory is there for."""
    return cores()


def pytest_configure(config: pytest.Config) -> None:
    """Processes beside each other take a thread each; and Ctrl-C reaches what tests start, also from a shell's background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # there it is ignored, which children would inherit
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In processes beside each other the longest files go first, then those with more slow tests: the last is a short one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        first = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: (first.get(item.path, len(first)), -slow[item.path]))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real captions, features and photos; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("ITR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data is not here (ITR_SHARED_DATA)")
    return folder


@pytest.fixture
def complaints(tmp_path: Path) -> Any:
    """Write an experiment (`tests.support.small_experiment.write`) and return the lines of the error; [] where it is valid.

    The path of params.yaml is taken off; a line about a recipe begins with `recipes/<name>.yaml`.
    """

    def check(content: Any) -> list[str]:
        path = small_experiment.write(tmp_path, content)
        try:
            load(path)
        except ConfigError as error:
            lines = str(error).splitlines()
            files = (str(path), str(tmp_path / "recipes"))
            assert lines and all(line.startswith(files) for line in lines), lines  # the file is named on each
            return [
                line.removeprefix(str(path)).removeprefix(":").strip().removeprefix(f"{tmp_path}/") for line in lines
            ]
        return []

    return check
