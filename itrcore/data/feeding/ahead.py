"""Things that are made in threads while the ones before are used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def ahead(make: Callable[[S], T], steps: Sequence[S], threads: int) -> Generator[T]:
    """What `make` makes for each step, in order; the next ones are made in threads while one is used. `close` ends the threads.

    Threads: while one reads, decodes or converts others run, and nothing is copied between processes.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        waiting = [pool.submit(make, step) for step in steps[: threads + 1]]
        for step in steps[threads + 1 :]:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(make, step))
        for future in waiting:
            yield future.result()
