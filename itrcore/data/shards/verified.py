"""Which shards were read for their checksums and are untouched since: these need not be read for them again.

Untouched means the same device, inode, size, and times of the last change: of the content, and of the file in any way. The
system keeps that last time itself, and programs cannot set it: a copy counts as another file, and so does a file that was changed
in place and given its old time again. A disk that changes a bit by itself leaves all of them as they are. So a record holds for
some weeks only, and `itr data check` reads all.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from itrcore.files import digest, read_json, sealed, sha256, write_sealed
from itrcore.terminal import warn

SETTLED = 10.0  # seconds; a file that changed later before it was read could change again within one tick of the clock
TRUSTED = 30 * 24 * 3600.0  # seconds


class Verified:
    """Files that had the right checksum, as a file on the disk records them. Several processes may use it, anyone may remove it."""

    def __init__(self, path: Path | None) -> None:
        """path: of the record, which may not be there yet, or be damaged: then it holds nothing. None: nothing is kept"""
        self.path = path
        self._read_at = _recorded(path)

    def knows(self, file: Path, wanted: str) -> bool:
        """Whether the file was verified to have this SHA-256, and is untouched since."""
        return _holds(self._read_at.get(_state(file, wanted)[0]))

    def check(self, file: Path, wanted: str) -> bool:
        """Read the file: whether it has this SHA-256. One that changes meanwhile is another the next time."""
        state, changed = _state(file, wanted)
        now = time.time()
        if sha256(file) != wanted:
            return False
        if changed < now - SETTLED:
            self._read_at[state] = now
        return True

    def save(self) -> None:
        """Write the record. A disk that refuses it is a warning. What another process has noted meanwhile may be lost."""
        if self.path is None:
            return
        try:
            write_sealed(self.path, {state: at for state, at in self._read_at.items() if _holds(at)})
        except OSError as error:
            warn(f"{self.path}: cannot be written ({error.strerror}); the next one reads these shards again")


def _recorded(path: Path | None) -> dict[str, float]:
    """What a file was like when it was verified, as a digest → when, in seconds since 1970."""
    if path is None:
        return {}
    try:
        recorded = sealed(read_json(path))
        if not all(type(at) in (int, float) for at in recorded.values()):
            raise ValueError("it holds other values than times")
        return recorded
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn(f"{path}: cannot be read ({error}); these shards are read again")
        return {}


def _holds(at: float | None) -> bool:
    return at is not None and 0 <= time.time() - at < TRUSTED  # below 0: the clock was set back


def _state(file: Path, wanted: str) -> tuple[str, float]:
    """A digest of what tells the file from any other and from itself after a change; the time of its last change, in seconds."""
    status = os.stat(file)
    times = status.st_mtime_ns, status.st_ctime_ns
    return digest([wanted, status.st_dev, status.st_ino, status.st_size, *times]), max(times) / 1e9
