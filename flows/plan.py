"""What a flow is to run, checked before anything starts; and each task by one flow at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from flows.graph import DATASETS, RUNS, Task, grouped, needed_by, read_stages
from flows.targets import TargetFailed, stopped
from itrcore.errors import ConfigError, unknown
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.terminal import say

PROJECT = Path(__file__).parents[1]
EXPERIMENTS = PROJECT / "experiments"
DEMO = "demo"  # the embedded experiment, in the project's folder
MACHINES = (
    "machines"  # the queue in the work pool for runs of benchmarks that are spread; other flows have its default one
)


def folder_of(experiment: str | None) -> Path:
    """Of an experiment; without a name, the folder where this is started. `ConfigError` where there is none."""
    if experiment is None:
        return Path.cwd()
    known = sorted(path.parent.name for path in EXPERIMENTS.glob("*/params.yaml"))
    for problem in unknown("--experiment", experiment, dict.fromkeys(known), "experiments"):
        raise ConfigError(problem)
    return EXPERIMENTS / experiment


def name_of(folder: Path) -> str:
    """Of the experiment in a folder, as deployments have it."""
    return DEMO if folder.resolve() == PROJECT else folder.name


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
def alone(folder: Path, store: str | None = None) -> Iterator[None]:
    """Wait until no other flow with a server of its own runs in this folder: both would have one store.

    store: of its server, where it is not the folder's; jobs of a cluster have one each. The system releases the lock when the
    process ends, in whatever way.
    """
    path = (Path(store) if store else folder / ".dvc" / "tmp").resolve() / "flow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(path), path.with_suffix(".pid")
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


@contextmanager
def claimed(title: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Wait until no other flow in the working directory runs a task of this title: the task then finds what that has made.

    waiting: called once, if there is one. The system releases the lock when the process ends. `TargetFailed` where the flow is
    stopped meanwhile.
    """
    path = Path(".dvc", "tmp", "tasks", quote(title, safe=" ,@")).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, told = FileLock(path), False
    while True:
        try:
            lock.acquire(timeout=1 if told else 0)
            break
        except Timeout:
            if stopped():
                raise TargetFailed(f"{title} was not started: the flow is being stopped") from None
            if not told:
                waiting()
            told = True
    try:
        yield
    finally:
        lock.release()
