"""Who is let in, and the threads that do the work of those who are: never more than so many at once, also of one client."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from itrcore.serving.limits import Limits

T = TypeVar("T")


class Refused(Exception):
    """A request that is not answered, with its status of HTTP and one sentence for whoever asked. No path is in it."""

    def __init__(self, status: int, why: str, retry: bool = False) -> None:
        super().__init__(why)
        self.status, self.why, self.retry = status, why, retry


class Desk:
    """Counts the requests that are in; all calls are made in the server's event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.workers, "answering")
        self._all, self._of = 0, Counter[str]()
        self._running = set[Future[Any]]()

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """A place for a request. `Refused` where the client has its share of them already (429), or none is left (503)."""
        if self._of[client] >= self._limits.per_client:
            raise Refused(429, f"more than {self._limits.per_client} requests of yours at once; wait for answers", True)
        if self._all >= self._limits.workers + self._limits.queue:
            raise Refused(503, "the server is busy; ask again in a moment", True)
        self._all += 1
        self._of[client] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]  # clients are as many as there are addresses

    async def work(self, call: Callable[[], T]) -> T:
        """Its result, computed in a thread. A request that gave up leaves the queue.

        Nothing stops a thread: what it had begun keeps a place until it is done.
        """
        future = self._pool.submit(call)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.done():
                self._all += 1
                loop = asyncio.get_running_loop()

                def tell(_: Future[T]) -> None:
                    with suppress(RuntimeError):  # the server has ended meanwhile
                        loop.call_soon_threadsafe(self._done)

                future.add_done_callback(tell)
            raise

    @property
    def empty(self) -> bool:
        """Whether no thread computes anything."""
        return not self._running

    def close(self) -> None:
        """Nothing that waits is begun any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self) -> None:
        self._all -= 1
