"""A project in the current folder, into which the tests make data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny_project import write_params


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path
