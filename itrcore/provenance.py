"""Which state of the code a result comes from."""

from __future__ import annotations

import subprocess


def code_version() -> str:
    """The git commit, with `-dirty` where tracked files differ from it; `unknown` outside git."""
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return out.stdout.strip() or "unknown"
