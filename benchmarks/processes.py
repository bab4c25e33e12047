"""Work in a process of its own, so that the memory it takes is its own too; for benchmarks."""

from __future__ import annotations

import multiprocessing
import re
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
STATUS = Path("/proc/self/status")  # of Linux


def in_fresh_process(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `work`, a function of a module, gives there."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *given, **named).result()


def resident_peak() -> int:
    """Bytes that this process has held at most (resident), its libraries included.

    On Linux the number that `getrusage` knows is that of the process which started this one, where it held more then.
    """
    if STATUS.exists():
        peak = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
        assert peak is not None
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes
