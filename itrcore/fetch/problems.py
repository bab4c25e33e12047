"""What can go wrong with a source, and a disk without room: the first lets the next source be tried, the second does not."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from itrcore.errors import DataError


class SourceError(Exception):
    """This source does not give what was asked for; another one may. `status`: what a server answered in place of it."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class WrongContent(SourceError):
    """The source answers, with something else: other bytes, a web page, a damaged archive."""


def mismatch(what: str, found: str, expected: str, source: str) -> WrongContent:
    """`what` has the SHA-256 `found`, and not `expected`, which `source` gives."""
    return WrongContent(f"{what} has sha256 {found}, {source} says {expected}; correct that if it is wrong")


def wrong_size(what: str, found: int, expected: int, source: str) -> WrongContent:
    """`what` has `found` bytes, and not `expected`, which `source` gives."""
    return WrongContent(f"{what} has {found:,} bytes, {source} says {expected:,}; correct that if it is wrong")


def require_room(folder: Path, needed: int) -> None:
    """`DataError` where the disk of `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _full(folder, f"the disk has {free:,} bytes free", f"{needed:,} for what is still to be written")


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Turn the errors of a disk that fills up during a write into one `DataError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _full(folder, f"the disk is full ({error.strerror})", "room for what is downloaded") from error


@contextmanager
def required(where: str, expected: str, do: str) -> Iterator[None]:
    """Turn a `SourceError` into a `DataError`, for a file that has only one source.

    where: its address; expected: what should be there; do: what the user can do
    """
    try:
        yield
    except SourceError as error:
        raise DataError.at(where, str(error), expected, do=do) from error


def _full(folder: Path, found: str, expected: str) -> DataError:
    do = "Make room, or make the folder a link to a larger disk, and run it again: it continues from what is there."
    return DataError.at(folder, found, expected, do=do)
