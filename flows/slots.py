"""Places to compute. A task takes one, and where there are GPUs, a lease of one that no other flow on this machine has.

A lease is a lock of the kernel on bytes of one file. It belongs to an open file, not to a process. That file is the standard input
of the task's process, and so of all that it starts (DVC closes every other file in its stages): the lease ends when the last of
them has ended, in whatever way, also where the flow was killed before.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import math
import os
import random
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from flows.graph import RUNS, Task
from flows.targets import TargetFailed, stopped
from itrcore.errors import ConfigError, ITRError
from itrcore.files import read_json, write_json
from itrcore.settings.params import Params

LEASES = "ITR_LEASES"  # names another folder
VISIBLE = "CUDA_VISIBLE_DEVICES"
_PLACES = 64  # of a GPU, at most
_LOOK_SECONDS = 0.3, 0.9  # between two looks; drawn at random, so that two that each got half do not meet again


@dataclass(frozen=True)
class Place:
    """Where a task computes. variables: for its process; held: its standard input, which holds the lease"""

    variables: Mapping[str, str] = field(default_factory=dict)
    held: int = subprocess.DEVNULL


class Slots:
    """The places of a flow: so many at once, spread over its GPUs, if it has any."""

    def __init__(self, jobs: int, gpus: Sequence[str] = (), folder: Path | None = None) -> None:
        """jobs: how many at once; gpus: by the machine's names; folder: the flow's, for others that wait for it

        More jobs than GPUs share them; else a GPU is for one task alone.
        """
        self.gpus, self._folder = list(dict.fromkeys(gpus)), folder or Path.cwd()
        self._free = threading.Semaphore(jobs)
        self._share = min(_PLACES, math.ceil(jobs / len(self.gpus))) if self.gpus else 1

    @classmethod
    def of(cls, params: Params, tasks: Sequence[Task], jobs: int, gpus: Sequence[str]) -> Slots:
        """Those of an experiment's flow, in its folder. gpus: as the user names them; none: those that there are

        `ConfigError` where there is no such GPU, or there are fewer than a training needs.
        """
        found = named(gpus) if gpus or params.training.device != "cpu" else []
        most = max((needed(task, params) for task in tasks), default=1)
        if found and most > len(found):
            raise ConfigError(
                f"training.processes is {most}, each with a GPU of its own, but this flow has {len(found)}: name more with --gpus, "
                f"or set it to {len(found)}"
            )
        return cls(jobs, found)

    @contextmanager
    def taken(self, title: str, gpus: int, say: Callable[[str], None]) -> Iterator[Place]:
        """A place, as soon as there is one. title: the task's; gpus: how many it needs; say: told once for whom it waits

        `TargetFailed` where the flow is stopped meanwhile.
        """
        with self._free:
            if not self.gpus:
                yield Place()
                return
            leased, held = self._leased(title, gpus, say)
            try:
                yield Place({VISIBLE: ",".join(leased)}, held)
            finally:
                os.close(held)

    def _leased(self, title: str, needs: int, say: Callable[[str], None]) -> tuple[list[str], int]:
        """All or none: who has some and waits for more could wait for ever."""
        waits = False
        while not stopped():
            file, places = _opened(), dict[str, int]()
            for place in range(self._share):
                for gpu in self.gpus:
                    if len(places) < needs and gpu not in places and _lock(file, gpu, place, alone=self._share == 1):
                        places[gpu] = place
            if len(places) == needs:
                holder = {
                    "task": title,
                    "folder": str(self._folder),
                    "pid": os.getpid(),
                    "machine": socket.gethostname(),
                }
                for gpu, place in places.items():
                    write_json(_record(gpu, place), {**holder, "gpu": gpu})
                return [gpu for gpu in self.gpus if gpu in places], file
            os.close(file)
            if not waits:
                wanted = f"{needs} of the GPUs {', '.join(self.gpus)}" if len(self.gpus) > 1 else f"GPU {self.gpus[0]}"
                say(f"{title} waits for {wanted}: {'; '.join(self._holders()) or 'in use'}")
                waits = True
            time.sleep(random.uniform(*_LOOK_SECONDS))
        raise TargetFailed(f"{title} was not started: the flow is being stopped")

    def _holders(self) -> Iterator[str]:
        """Who has leases of the flow's GPUs."""
        file = _opened()
        try:
            for gpu in self.gpus:
                for path in sorted(_folder().glob(f"{quote(gpu, safe='')}.*.json")):
                    if not _lock(file, gpu, int(path.name.split(".")[-2])):
                        with suppress(OSError, ValueError, KeyError, TypeError):
                            who = read_json(path)
                            yield f"{who['task']} of {who['folder']} (process {who['pid']}) has {gpu}"
        finally:
            os.close(file)


def needed(task: Task, params: Params) -> int:
    """How many GPUs at once a task computes on, where there are any."""
    trains = [stage.item for stage in task.stages if stage.block == RUNS and stage.name == "train"]
    if not trains or (run := params.runs.get(str(trains[0]))) is None:
        return 1
    return 1 if run.seed is None else params.training.processes


def named(gpus: Sequence[str]) -> list[str]:
    """The GPUs that a user means, by names that are the same in every process of this machine: UUIDs, if it has them.

    gpus: numbers among those that CUDA_VISIBLE_DEVICES leaves, as nvidia-smi numbers them, or the beginnings of UUIDs; none: all of
    them. `ConfigError` where there is no such GPU.
    """
    every, shell = _of_machine(), os.environ.get(VISIBLE)
    seen = every if shell is None else list(_visible(shell, every))
    if not gpus:
        return seen if every else []
    return [_named(gpu, seen, every, shell is not None) for gpu in gpus]


def _named(gpu: str, seen: Sequence[str], every: Sequence[str], hidden: bool) -> str:
    if not gpu.isdecimal():
        return _whole(gpu, every)
    if int(gpu) < len(seen):
        return seen[int(gpu)]
    if not every and not hidden:
        return gpu  # without nvidia-smi nobody knows better
    have = f"{len(seen)}, counted from 0" if seen else "none"
    raise ConfigError(f"there is no GPU {gpu}: {f'{VISIBLE} leaves' if hidden else 'this machine has'} {have}")


def _visible(shell: str, every: Sequence[str]) -> Iterator[str]:
    """What CUDA_VISIBLE_DEVICES leaves: as for CUDA, up to the first that is none."""
    for name in (part.strip() for part in shell.split(",")):
        if name.isdecimal() and (not every or int(name) < len(every)):
            yield every[int(name)] if every else name
        elif name.startswith(("GPU-", "MIG-")):
            yield _whole(name, every)
        else:
            return


def _whole(gpu: str, every: Sequence[str]) -> str:
    """A UUID of which the beginning is given."""
    return next((uuid for uuid in every if uuid.startswith(gpu)), gpu)


@functools.cache
def _of_machine() -> list[str]:
    """UUIDs of its GPUs. Asked of NVIDIA's tool: torch takes seconds to import, and a context on each GPU."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("GPU-")]


def _folder() -> Path:
    """One for all flows of this user on this machine. TMPDIR and XDG_RUNTIME_DIR are others in each session, so not there."""
    if chosen := os.environ.get(LEASES):
        path = Path(chosen)
        path.mkdir(parents=True, exist_ok=True)
        return path
    path = Path("/tmp", f"itr-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise ITRError(f"{path} is of another user; name a folder of your own on this machine in {LEASES}")
    return path


def _record(gpu: str, place: int) -> Path:
    return _folder() / f"{quote(gpu, safe='')}.{place}.json"


def _opened() -> int:
    """The file of all leases, opened anew: what is locked of it is this opening's."""
    path = _folder() / "leases"
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_SH)  # programs that clear /tmp leave it
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                os.utime(file)
                return file
        os.close(file)  # removed meanwhile


def _lock(file: int, gpu: str, place: int, alone: bool = False) -> bool:
    """Take a place of a GPU, if it is free. alone: all its places"""
    number = int.from_bytes(hashlib.sha256(gpu.encode()).digest()[:6])
    start, length = (number * _PLACES, _PLACES) if alone else (number * _PLACES + place, 1)
    asked = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)  # struct flock
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, asked)
    except (BlockingIOError, PermissionError):
        return False
    return True
