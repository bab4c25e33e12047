"""What a GPU does in a step: how long it computes, what crosses, and where the CPU waits for it."""

from __future__ import annotations

import json
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cuStreamSynchronize", "cuEventSynchronize")
_OURS = "itrcore"
_SYNCHRONISES = "called a synchronizing CUDA operation"


@dataclass(frozen=True)
class Watched:
    """Of a step.

    kernels, kernel_ms: how many, and how long at least one runs
    copies, waits: how many, by the kind of copy and the function that waits
    """

    kernels: float
    kernel_ms: float
    copies: dict[str, float]
    waits: dict[str, float]

    @property
    def value(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def watched(work: Callable[[], Any], steps: int, device: torch.device) -> Watched:
    """Profile work that is so many steps. That takes longer, but kernels do not."""
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    wait(device)
    with profile(activities=activities) as seen:
        work()
        wait(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8", "replace"))["traceEvents"]
    return of_trace(events, steps)


def of_trace(events: Sequence[dict[str, Any]], steps: int) -> Watched:
    """From the events of a trace (times in microseconds) of so many steps."""
    kernels = [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == "kernel"]
    copies = Counter(_kind(event["name"]) for event in events if event.get("cat") == "gpu_memcpy")
    # Not cudaDeviceSynchronize: only this module and the profiler wait for all streams.
    waits = Counter(event["name"] for event in events if event.get("name") in _WAITS)
    return Watched(
        kernels=len(kernels) / steps,
        kernel_ms=_covered(kernels) / steps / 1000,
        copies={name: number / steps for name, number in copies.items()},
        waits={name: number / steps for name, number in waits.items()},
    )


def _kind(name: str) -> str:
    """`Memcpy HtoD (Pinned -> Device)` → `HtoD (Pinned -> Device)`."""
    return name.removeprefix("Memcpy ")


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of these spans lasts: kernels on several streams count once."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


@contextmanager
def waiting_lines(device: torch.device) -> Iterator[Counter[str]]:
    """Which lines of this project make the CPU wait for the GPU meanwhile, and how often.

    torch warns of each such operation (`set_sync_debug_mode`); as an error it would name the first one only.
    """
    lines: Counter[str] = Counter()
    if device.type != "cuda":
        yield lines
        return

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if _SYNCHRONISES in str(message):
            frames = [frame for frame in traceback.extract_stack() if _OURS in Path(frame.filename).parts]
            lines[f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else "elsewhere"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lines
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _short(path: str) -> str:
    parts = Path(path).parts
    return "/".join(parts[len(parts) - 1 - parts[::-1].index(_OURS) :])
