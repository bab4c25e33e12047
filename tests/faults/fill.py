"""Disks that fill, and have room again."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.outcome import Finding, Outcome, finished, left_over, seen
from tests.faults.pipeline import NEXT, Pipeline


@dataclass(frozen=True)
class Fill:
    """A file system of its own for a folder fills; then there is room again. slack: how much of what is needed there is."""

    state: str
    folder: str
    slack: float

    @classmethod
    def drawn(cls, random: Random, pipeline: Pipeline) -> Fill:
        """The whole project, or one folder in which no output of DVC's is a link."""
        state = random.choice(["fresh", "prepared", "prepared", "prepared"])
        folders = {
            "fresh": [".", ".dvc/cache", ".dvc/tmp", "data/scenes", "inputs", "state", "temporary"],
            "prepared": [
                *[
                    ".",
                    ".",
                    ".dvc/cache",
                    ".dvc/cache",
                    ".dvc/tmp",
                    "runs",
                    "state",
                    "evaluations",
                    "results",
                ],
                *["inputs", "curves", "metrics", "mlartifacts", "temporary"],
            ],
        }
        return cls(state, random.choice(folders[state]), round(random.random(), 3))

    def __str__(self) -> str:
        return f"{self.state}: {self.folder} fills after {self.slack:.1%} of what it needs"

    def trial(self, pipeline: Pipeline) -> Iterator[Finding]:
        pipeline.begin(self.state)
        folder = pipeline.folder / self.folder
        before = _pages(folder)
        needed = max(2, _pages(pipeline.undisturbed(NEXT[self.state]) / self.folder) - before)
        command = pipeline.repro(self.state)
        with file_system(folder) as resize:
            resize(before + int(needed * self.slack))
            full = pipeline.run(*command, env={"TMPDIR": str(folder)} if self.folder == "temporary" else {})
            if full.code == 0 and "No space" not in full.output:
                yield Finding(Outcome.MISSED, "there was room enough")
            yield from seen(full)
            if full.code:
                yield from left_over(pipeline.folder)
            resize(1 << 18)
            yield from finished(pipeline, self.state, [full, pipeline.run(*command)])


@contextlib.contextmanager
def file_system(folder: Path) -> Iterator[Callable[[int], object]]:
    """Put a file system in memory under a folder, with what is in it; afterwards it is gone, with all that is in it.

    Yields what sets its size, in pages of 4 KiB.
    """
    aside = folder.with_name(f"{folder.name}.aside")
    if folder.exists():
        folder.rename(aside)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        if aside.exists():
            subprocess.run(["cp", "-a", f"{aside}/.", folder], check=True)
            subprocess.run(["rm", "-rf", aside], check=True)
        yield lambda pages: subprocess.run(["mount", "-o", f"remount,size={max(1, pages) * 4}k", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _pages(folder: Path) -> int:
    """What the files of a folder take of a file system, in pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def may_mount() -> bool:
    """Whether this process may mount file systems: root, outside of most containers."""
    try:
        with tempfile.TemporaryDirectory() as folder, file_system(Path(folder) / "mounted"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
