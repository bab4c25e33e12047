"""How many workers to start."""

from __future__ import annotations

import os

# More gain little, and each process costs memory.
_MOST = 8


def cores() -> int:
    """The processor cores that this process may use, at most 8."""
    return min(all_cores(), _MOST)


def all_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
