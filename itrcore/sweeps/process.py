"""Starting a training of a sweep as a process of its own, following it, and ending it. What it prints goes into a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.errors import ITRError
from itrcore.runs.trials import Curve, Trained

_SECONDS = 10.0  # for a process to end by itself
_READ = 20_000  # bytes at the end of a log


@dataclass(frozen=True)
class Task:
    """A training: the sweep, its study, how it is called, its trial's values, seed, the folder for its state."""

    sweep: str
    study: str
    name: str
    values: dict[str, Any]
    seed: int
    folder: str


class Pruned(Exception):
    """The training was ended as it was told to be."""


class Failed(Exception):
    """The training could not come to its end; the message says why."""


class Stopped(Exception):
    """All is being stopped."""


class Processes:
    """The trainings that go on now, which end together."""

    def __init__(self) -> None:
        self._running = set[subprocess.Popen[str]]()
        self._stopped = False
        self._guard = threading.Lock()

    def train(self, task: Task, log: Path, gpu: str | None, goes_on: Callable[[Curve], bool]) -> Trained:
        """Train to the end.

        goes_on: told all evaluations so far after each one, says whether to go on; gpu: the only one that it sees
        `Pruned`, `Failed` (of this training), `Stopped`; `ITRError` for what would fail every other one too.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self._start(log, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
        try:
            ended = _follow(process, vars(task), goes_on)
            code = process.wait(_SECONDS if ended else None)
        finally:
            _end(process)
            with self._guard:
                self._running.discard(process)
        if "trained" in ended:
            return Trained.of(ended["trained"])
        if "pruned" in ended:
            raise Pruned
        if self._stopped:
            raise Stopped
        if "stop" in ended:
            raise ITRError(ended["stop"])
        raise Failed(ended.get("failed") or _last_words(code, log))

    def stop(self) -> None:
        """End them all, and let none start."""
        with self._guard:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.kill()  # the state that they go on from is whole at any moment

    def _start(self, log: Path, extra: dict[str, str]) -> subprocess.Popen[str]:
        with self._guard, open(log, "ab") as handle:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(
                [sys.executable, "-m", "itrcore.sweeps.training"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **extra},
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the sweep
            )
            self._running.add(process)
        return process


def _follow(process: subprocess.Popen[str], task: dict[str, Any], goes_on: Callable[[Curve], bool]) -> dict[str, Any]:
    """What the training says at its end; {} where it ended without a word."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        _tell(process, task)
        for line in process.stdout:
            told: dict[str, Any] = json.loads(line)
            if "curve" not in told:
                return told
            _tell(process, goes_on([(epoch, rsum) for epoch, rsum in told["curve"]]))
    return {}


def _tell(process: subprocess.Popen[str], what: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{json.dumps(what)}\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def _last_words(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return f"killed by the system, as when memory is short; a smaller recipe.batch_size needs less (log: {log})"
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name} (log: {log})"
    with open(log, "rb") as handle:
        handle.seek(max(0, handle.seek(0, os.SEEK_END) - _READ))
        lines = handle.read().decode("utf-8", "replace").splitlines()
    said = next((line for line in reversed(lines) if line.strip()), f"exit status {code}")
    return f"{said.strip()} (log: {log})"
