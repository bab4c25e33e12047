"""All that a training says, in its state's folder: over all its attempts, with times, small, and never the end of a training.

A long log keeps its beginning, which says what is trained on what, and its end.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itrcore.errors import ITRError
from itrcore.files import replacing
from itrcore.portable import portable
from itrcore.spoken import heard, stamped
from itrcore.terminal import in_words, warn

MOST = 1 << 20  # bytes
_FIRST = MOST // 8  # of them, that a log which has grown too long keeps of its beginning; and half of its end


class Transcript:
    """A log. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._whole = True

    def hear(self, line: str) -> None:
        """Add a line as it may be published. A full disk costs a warning."""
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)  # a state of an older name may have taken its place
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(f"{portable(line)}\n")
                    size = file.tell()
                if size > MOST:
                    self._shorten()
            except OSError as error:
                if self._whole:
                    self._whole = False
                    warn(f"{self.path} is not complete: {error.strerror}")

    def _shorten(self) -> None:
        lines = self.path.read_text("utf-8", errors="replace").splitlines(keepends=True)
        first, last = _within(lines, _FIRST), _within(lines[::-1], MOST // 2)[::-1]
        with replacing(self.path) as temporary:
            left_out = len(lines) - len(first) - len(last)
            temporary.write_text("".join([*first, f"… {left_out:,} lines are left out here\n", *last]), "utf-8")


def _within(lines: list[str], most: int) -> list[str]:
    """The first lines that have so many characters together."""
    kept = list[str]()
    for line in lines:
        most -= len(line)
        if most < 0:
            break
        kept.append(line)
    return kept


@contextmanager
def transcribed(path: Path, who: str) -> Iterator[None]:
    """Add to the log at this path what is said meanwhile, by whom, and how it ends if it does not end well."""
    transcript = Transcript(path)
    try:
        with heard(transcript.hear):
            yield
    except BaseException as error:
        said = in_words(error) if isinstance(error, ITRError | OSError | KeyboardInterrupt) else traceback.format_exc()
        for line in said.splitlines():
            transcript.hear(stamped(who, line, "ERROR"))
        raise
