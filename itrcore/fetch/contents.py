"""What a source holds: one file, a folder, or an archive; its entries by name, each readable once in their order.

An archive with any entry that could write outside its folder, a link or a device is refused before anything is read.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from itrcore.fetch.problems import WrongContent
from itrcore.files import inside, nameable
from itrcore.unpacking import damage_as, is_tar, is_zip, members, opened_tar, opened_zip

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class Entry:
    """A file inside a source."""

    name: str
    bytes: int


class Contents(ABC):
    """What the file, archive or folder at `path` holds."""

    path: Path
    entries: list[Entry]

    @abstractmethod
    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, IO[bytes]]]:
        """Each wanted entry with its open bytes, valid until the next; to be read within `undamaged`."""


class PlainContents(Contents):
    """A folder, or one file: entries in the order of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = list(_files(path)) if path.is_dir() else [Entry(path.name, path.stat().st_size)]
        if other := next((entry for entry in self.entries if not nameable(entry.name)), None):
            raise WrongContent(f"{other.name!r} is no name in UTF-8, or too long for a record; rename the file")

    def file(self, entry: Entry) -> Path:
        """Where the entry lies on this disk."""
        return self.path / entry.name if self.path.is_dir() else self.path

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, IO[bytes]]]:
        """As in `Contents`."""
        for entry in wanted:
            with open(self.file(entry), "rb") as handle:
                yield entry, handle


class ZipContents(Contents):
    """A zip file's entries; reading checks each one's CRC."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with undamaged(path), opened_zip(path) as archive:
            infos = archive.infolist()
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            _refuse_unsafe(path, info.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if info.flag_bits & 1:
                raise WrongContent(f"{path.name}: {info.filename!r} is encrypted")
        self.entries = [Entry(info.filename, info.file_size) for info in infos if not info.is_dir()]

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, IO[bytes]]]:
        """As in `Contents`."""
        with opened_zip(self.path) as archive:
            for entry in wanted:
                with archive.open(entry.name) as handle:
                    yield entry, handle


class TarContents(Contents):
    """A tar file's entries, compressed or not; found by reading it through once."""

    def __init__(self, path: Path) -> None:
        self.path, self.entries = path, []
        with undamaged(path), opened_tar(path) as archive:
            for member in members(archive, path.stat().st_size):
                _refuse_unsafe(path, member.name, member.isreg() or member.isdir())
                if member.isreg():
                    self.entries.append(Entry(member.name, member.size))

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, IO[bytes]]]:
        """As in `Contents`, in the archive's order: a compressed one cannot be read at random."""
        by_name = {entry.name: entry for entry in wanted}
        with opened_tar(self.path) as archive:
            for member in members(archive, self.path.stat().st_size):
                handle = archive.extractfile(member) if member.name in by_name else None
                if handle is not None:
                    with handle:
                        yield by_name[member.name], handle


def open_contents(path: Path) -> Contents:
    """The contents of a folder, a file or an archive (see `is_archive`). `WrongContent` where an archive is damaged or unsafe."""
    if path.is_dir() or not is_archive(path):
        return PlainContents(path)
    with open(path, "rb") as handle:
        return ZipContents(path) if handle.read(2) == b"PK" else TarContents(path)


def is_archive(path: Path) -> bool:
    """True for a name with an archive's ending, and for a zip or tar file whose name has no ending at all."""
    if path.suffix:
        return path.name.lower().endswith(ARCHIVES)
    return path.is_file() and (is_zip(path) or is_tar(path))


def matching(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    """The entries that match a pattern (all where there is none), without what macOS adds to archives."""
    real = [e for e in entries if not e.name.startswith("__MACOSX/") and PurePosixPath(e.name).name != ".DS_Store"]
    return [entry for entry in real if not only or any(fnmatchcase(entry.name.removeprefix("./"), p) for p in only)]


def destinations(entries: Sequence[Entry], into: str) -> dict[str, Entry]:
    """Where each entry goes in the download's folder: below `into`, relative to the entries' deepest common folder.

    `WrongContent` where two entries would go to one place.
    """
    folders = [PurePosixPath(entry.name).parent for entry in entries]
    common = os.path.commonpath(folders) if folders else ""
    placed: dict[str, Entry] = {}
    for entry in entries:
        inside = str(PurePosixPath(into) / PurePosixPath(entry.name).relative_to(common))
        if inside in placed:
            raise WrongContent(f"it holds {entry.name!r} twice")
        placed[inside] = entry
    return placed


def _files(folder: Path) -> Iterator[Entry]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield Entry(path.relative_to(folder).as_posix(), path.stat().st_size)


def _refuse_unsafe(archive: Path, name: str, plain: bool) -> None:
    if not plain:
        reason = "is a link or a device"
    elif not inside(name):
        reason = "points outside its folder" if nameable(name) else "has a name that no file can have"
    else:
        return
    raise WrongContent(f"{archive.name}: the entry {name!r} {reason}; nothing of this archive is unpacked")


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises, here and where its entries are read, into `WrongContent`."""
    with damage_as(lambda wrong: WrongContent(f"{path.name} is a damaged archive ({wrong})")):
        yield
