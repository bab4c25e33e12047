"""Starting the processes that train one run together on this machine, and ending all of them when one ends."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from itrcore.device import join
from itrcore.errors import ConfigError, ITRError, TrainingError
from itrcore.layers.together import LostProcess
from itrcore.spoken import speaking
from itrcore.terminal import user_errors

_SECONDS = 5.0  # for a process to say what went wrong, and then to end
_LOST = 75  # the exit status of a process that lost another one


def launch(processes: int, who: str, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function(*arguments)` in so many processes that have joined; returns when it has returned in each.

    who: they are, in one word, in what they print; function: of a module, as each process imports it
    `ConfigError` where there are fewer GPUs. `TrainingError` where one of the processes ended early, after all have ended;
    `SystemExit` where the first one has said why.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise ConfigError(f"training.processes is {processes}, but there are {gpus} GPUs; set it to {gpus}")
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        calls = [(number, processes, folder, who, function, arguments) for number in range(processes)]
        started = [context.Process(target=_one, args=call) for call in calls]
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of them, and the first one answers
        try:
            for process in started:
                process.start()
            _follow(started, Path(folder))
        finally:
            _end(started)
            signal.signal(signal.SIGINT, before)


def _one(
    number: int, count: int, folder: str, who: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler if number == 0 else signal.SIG_IGN)
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count)}
    _end_with_parent()
    try:
        join(Path(folder, "group"))
        with speaking(who), user_errors() if number == 0 else nullcontext():
            _call(function, arguments)
    except Exception as error:
        said = str(error) if isinstance(error, ITRError) else traceback.format_exc()
        Path(folder, str(number)).write_text(said, "utf-8")
        raise SystemExit(1) from None


def _call(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        function(*arguments)
    except LostProcess:
        raise SystemExit(_LOST) from None  # the one that ended first is to be named


def _end_with_parent() -> None:
    """If the parent is killed, nothing is left."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _follow(started: list[Any], folder: Path) -> None:
    first = started[0]
    while running := [process for process in started if process.exitcode is None]:
        wait([process.sentinel for process in running])
        if not any(process.exitcode for process in started):
            continue
        first.join(_SECONDS)  # it may be about to say what is wrong
        if first.exitcode and first.exitcode > 0 and first.exitcode != _LOST:
            raise SystemExit(first.exitcode)
        number = next(number for number, process in enumerate(started) if process.exitcode not in (None, 0, _LOST))
        code, said = started[number].exitcode, Path(folder, str(number))
        why = (
            said.read_text("utf-8")
            if said.exists()
            else f"signal {signal.Signals(-code).name}"
            if code < 0
            else f"{code}"
        )
        raise TrainingError(
            f"process {number + 1} of {len(started)} ended ({why}), so all were ended; run it again to go on from the last "
            "saved state"
        )


def _end(started: list[Any]) -> None:
    for end in ("terminate", "kill"):
        limit = time.monotonic() + _SECONDS
        for process in started:
            if process.pid is not None and process.exitcode is None:
                getattr(process, end)()
        for process in started:
            if process.pid is not None:
                process.join(max(0.0, limit - time.monotonic()))
