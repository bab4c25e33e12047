"""Fixtures shared by the tests, and where real data lies when it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real captions, features and photos; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("ITR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data is not here (ITR_SHARED_DATA)")
    return folder
