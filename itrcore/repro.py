"""How `dvc repro` is started as a child process: by this Python, which the stages' `python` is too."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def command(*arguments: str) -> list[str]:
    """`dvc --wait-for-lock repro ARGUMENT …`.

    --wait-for-lock: without it DVC gives up after 3 s and throws a finished training away.
    """
    return [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments]


def environment() -> Mapping[str, str]:
    """This process's, in which `python` is this Python even where its environment was not activated."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path}
