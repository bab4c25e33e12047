"""Which state of the code a result comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # where the code lies that computes


def code_version(folder: Path | None = None) -> str:
    """The git commit of a folder, with `-dirty` where tracked files differ from it; `unknown` outside git.

    folder: where stages run, and so the project that they belong to, if none is given
    `unknown (git: …)` where there is a checkout, but git is missing or refuses it, with git's own words.
    """
    folder = folder or Path.cwd()
    checkout = next((above for above in _upwards(folder) if (above / ".git").exists()), None)
    command = ["git"]
    # In a container a mounted checkout often belongs to another user, and git refuses it, as its settings could start
    # programs. Where this very code comes from it, that adds nothing; any other checkout is left to git.
    if checkout in _upwards(HOME):
        command += ["-c", f"safe.directory={checkout}"]
    command += ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=30)
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
