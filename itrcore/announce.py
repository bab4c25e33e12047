"""One line about work that takes longer than a few seconds, and how far it has come; nothing about what is done at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Timer

from itrcore.progress import Bars, Count, count_bars

PATIENCE = 3.0  # seconds


@contextmanager
def announced(what: str) -> Iterator[Count]:
    """Around the work: `what` is printed when it has taken some seconds, and not again. Yield a hook (done, in all) for a bar."""
    late = Event()
    bars: Bars | None = None

    def announce() -> None:
        count_bars().say(what)
        late.set()

    with ExitStack() as stack:

        def count(done: int, total: int) -> None:
            nonlocal bars
            if late.is_set():
                bars = bars or stack.enter_context(count_bars())
                bars.show(what, done, total)

        timer = Timer(PATIENCE, announce)  # in a thread: not all work comes back to count
        timer.daemon = True
        timer.start()
        try:
            yield count
        finally:
            timer.cancel()
            timer.join()  # it may be printing
