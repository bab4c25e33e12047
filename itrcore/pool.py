"""Processes that work beside this one. They end with it, and Ctrl-C, which reaches all of a terminal, ends them without a word."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any


def _nothing() -> None:
    pass


@contextmanager
def pool(processes: int, prepare: Callable[..., None] = _nothing, *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """An executor of that many processes, in each of which `prepare(*arguments)` is called first.

    Spawned: a process that has threads, such as torch's or a progress bar's, is not safely forked.
    """
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (prepare, arguments))
    try:
        resource_tracker.ensure_running()  # its start would let signals through again
        # Inherited: a worker that is still importing must not answer Ctrl-C with a trace. Ours comes a moment later.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            executor.submit(_nothing)  # starts them all
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_follow_parent, daemon=True).start()
    prepare(*arguments)


def _follow_parent() -> None:
    # A pool's workers do not notice by themselves that the process which started them was killed.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
