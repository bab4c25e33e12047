"""Packed files and archives from outside, read within limits: one that unpacks to far too much is refused before it fills
memory or disk (`itrcore/limits.py`)."""

from __future__ import annotations

import errno
import gzip
import io
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, Literal, cast

from itrcore import limits
from itrcore.errors import first_line
from itrcore.files import WrongKind

_BUFFER = 1 << 20
# What gzip, zipfile, tarfile and the libraries beneath them raise for damaged or made-up files, beside OSErrors.
_DAMAGE = (
    EOFError, LZMAError, MemoryError, OverflowError, RuntimeError, ValueError, struct.error, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def damage_as(error_of: Callable[[str], Exception]) -> Iterator[None]:
    """Turn what a damaged or refused file raises into `error_of(what is wrong)`. Errors of the disk stay as they are."""
    try:
        yield
    except _DAMAGE as error:
        raise error_of(first_line(error)) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a decompressor's own error, and a place before the file's start
            raise
        raise error_of(first_line(error)) from error


@contextmanager
def gunzipped(path: Path, most: int) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a gzip file. most: bytes; `WrongKind` where they are more, or far more than the packed ones."""
    with open(path, "rb") as packed, gzip.open(packed) as unpacked:
        yield within(unpacked, packed.tell, most)


def within(unpacked: Any, packed: Callable[[], int], most: int) -> IO[bytes]:
    """A stream that raises `WrongKind` where more bytes come than may.

    unpacked: the raw stream; packed: how many bytes have gone into it so far, or will at most
    """
    return io.BufferedReader(cast(io.RawIOBase, _Counted(unpacked, packed, most)), _BUFFER)


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines with their ends. `WrongKind` for one that is longer than any line of text is."""
    while line := stream.readline(limits.LINE):
        if len(line) == limits.LINE:
            raise WrongKind("a longer line", f"lines of at most {limits.LINE:,} bytes")
        yield line


@contextmanager
def opened_zip(file: Path | IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A zip file. `WrongKind` where its directory announces too many entries, or far more bytes than it has itself."""
    with zipfile.ZipFile(file) as archive:
        assert archive.fp is not None
        packed = archive.fp.seek(0, io.SEEK_END)
        entries = archive.infolist()
        _check(len(entries), sum(entry.file_size for entry in entries), packed)
        yield archive


@contextmanager
def opened_tar(path: Path, mode: Literal["r", "r:"] = "r") -> Iterator[tarfile.TarFile]:
    """A tar file; read it with `members`. `tarfile.TarError` for what Python's reader would not survive.

    mode: `r` takes a compressed one too, `r:` only a plain one
    """
    with tarfile.open(path, mode, tarinfo=_Member) as archive:
        yield archive


def members(archive: tarfile.TarFile, packed: int) -> Iterator[tarfile.TarInfo]:
    """The members one after the other; `WrongKind` before one that goes too far is passed over. packed: bytes of the file"""
    for number, member in enumerate(archive, 1):
        _check(number, member.offset_data + member.size, packed)
        yield member


def is_zip(path: Path) -> bool:
    """Whether it is a zip file, perhaps a damaged one."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def is_tar(path: Path) -> bool:
    """Whether a tar file begins here, compressed or not."""
    try:
        with opened_tar(path):
            return True
    except (*_DAMAGE, OSError):
        return False


def _check(entries: int, unpacked: int, packed: int) -> None:
    if entries > limits.ENTRIES:
        raise WrongKind(f"it holds {entries:,} entries or more", f"at most {limits.ENTRIES:,}")
    if unpacked > (allowed := limits.unpacked(packed)):
        raise WrongKind(f"its {packed:,} bytes unpack to {unpacked:,} or more", f"at most {allowed:,}")


class _Counted(io.RawIOBase):
    def __init__(self, inner: IO[bytes], packed: Callable[[], int], most: int) -> None:
        self._inner, self._packed, self._most, self._read = inner, packed, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._inner.readinto(buffer)  # type: ignore[attr-defined]
        self._read += count
        if self._read > (allowed := limits.unpacked(self._packed(), self._most)):
            raise WrongKind("it unpacks to more", f"at most {allowed:,} bytes")
        return count


class _Member(tarfile.TarInfo):
    """A member whose headers cannot make Python's reader loop or read gigabytes into memory.

    The overridden methods are tarfile's own and begin with an underscore: tests/security has files that get through where they
    are no longer called.
    """

    _HEADERS = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.size < 0:
            raise tarfile.TarError("a member of negative size")
        if self.type in self._HEADERS and self.size > limits.HEADER:
            raise tarfile.TarError(f"a header of {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        return super()._proc_member(archive)  # type: ignore[misc]

    def _apply_pax_info(self, headers: dict[str, Any], encoding: str, errors: str) -> None:
        if not re.fullmatch("[0-9]{1,18}", headers.get("size", "0")):
            raise tarfile.TarError("a member whose size is no number")
        super()._apply_pax_info(headers, encoding, errors)  # type: ignore[misc]

    def _refuse_sparse(self, *_: Any) -> None:
        raise tarfile.TarError("a sparse file, which holds more than is there; pack it again without --sparse")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse
