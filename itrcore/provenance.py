"""Which state of the code a result comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]  # where the code lies that computes


def code_version() -> str:
    """The git commit, with `-dirty` where tracked files differ from it; `unknown` outside git.

    `unknown (git: …)` where there is a checkout, but git is missing or refuses it, with git's own words.
    """
    checkout = next((folder for folder in _upwards(Path.cwd()) if (folder / ".git").exists()), None)
    command = ["git"]
    # In a container a mounted checkout often belongs to another user, and git refuses it, as its settings could start
    # programs. Where this very code comes from it, that adds nothing; any other checkout is left to git.
    if checkout in _upwards(_HOME):
        command += ["-c", f"safe.directory={checkout}"]
    command += ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    else:
        if done.returncode == 0:
            return done.stdout.strip()
        problem = done.stderr.strip()
    return f"unknown (git: {(problem.splitlines() or ['no message'])[0]})" if checkout else "unknown"


def _upwards(folder: Path) -> list[Path]:
    """The folder and all above it."""
    folder = folder.resolve()
    return [folder, *folder.parents]
