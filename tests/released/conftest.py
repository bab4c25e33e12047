"""A project with exported runs, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.exported import exported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of the project with exported runs, as the current folder."""
    shutil.copytree(exported(), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
