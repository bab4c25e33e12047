"""What a flow is to run, checked before anything starts; and one flow at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from flows.graph import DATASETS, RUNS, Task, grouped, needed_by, read_stages
from itrcore.errors import ConfigError, unknown
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.terminal import say

PROJECT = Path(__file__).parents[1]
EXPERIMENTS = PROJECT / "experiments"


def folder_of(experiment: str | None) -> Path:
    """Of an experiment; without a name, the folder where this is started. `ConfigError` where there is none."""
    if experiment is None:
        return Path.cwd()
    known = sorted(path.parent.name for path in EXPERIMENTS.glob("*/params.yaml"))
    for problem in unknown("--experiment", experiment, dict.fromkeys(known), "experiments"):
        raise ConfigError(problem)
    return EXPERIMENTS / experiment


def planned(jobs: int, only: Mapping[str, Sequence[str]] | None = None) -> tuple[Params, list[Task]]:
    """The experiment in the working directory, and the flow's tasks. `ConfigError` where params.yaml, dvc.yaml or these are wrong.

    only: names in blocks of params.yaml, such as runs: only these and what they depend on
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, not {jobs}")
    params = load()
    for name in (only or {}).get(RUNS, ()):
        params.run(name)
    for name in (only or {}).get(DATASETS, ()):
        params.dataset(name)
    stages = read_stages()
    return params, grouped(stages if only is None else needed_by(only, stages))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other flow runs in this folder: targets of two flows would find each other's stages busy, and fail.

    The system releases the lock when the process ends, in whatever way. Within one process it may be taken again, by any thread.
    """
    path = (folder / ".dvc" / "tmp" / "flow.lock").resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(path, is_singleton=True, thread_local=False), path.with_suffix(".pid")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text("utf-8") if holder.is_file() else "?"
        say(f"Another flow (process {who}) runs in {folder}: waiting until it has ended.")
        lock.acquire()
    try:
        holder.write_text(str(os.getpid()), "utf-8")
        yield
    finally:
        lock.release()
