"""A whole download: each part from the first of its sources that gives it, verified, recorded; again, only what is missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from itrcore import files
from itrcore.errors import DataError
from itrcore.fetch import record
from itrcore.fetch.contents import (
    Contents,
    Entry,
    PlainContents,
    destinations,
    is_archive,
    matching,
    open_contents,
    undamaged,
)
from itrcore.fetch.download import locked
from itrcore.fetch.problems import SourceError, WrongContent, require_room, room_on_disk
from itrcore.fetch.record import File, Files
from itrcore.fetch.sources import Obtained, bytes_kept, move, obtain
from itrcore.progress import SILENT, Watcher
from itrcore.settings.downloads import DownloadSettings

MANY = 1000  # a linked folder of this many files or more is recorded by sizes, without digests
_BLOCK = 1 << 20


def fetch(
    name: str, parts: Mapping[str, DownloadSettings], downloads: Path, progress: Watcher = SILENT
) -> dict[str, Files]:
    """Fill `downloads`/`name` with every part and record it in `downloads`/`name`.json; returns the record.

    Parts whose recorded files are all there, by their SHA-256, are left alone. A file that differs from its record is never
    put in its place. Unfinished downloads, and archives after unpacking, lie in `downloads`/.partial. `DataError` where a
    part cannot be had from any source, the disk is full, or two parts write one path; what is there is kept.
    """
    partial = downloads / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    with locked(partial / f"{name}.lock", progress):
        work = _Work(name, downloads / name, downloads / f"{name}.json", partial, progress)
        for part, settings in parts.items():
            work.part(part, settings)
        done = {part: work.recorded[part] for part in parts}
        record.write(work.record, done)
    if left := bytes_kept(partial):
        progress.say(
            f"{partial} holds {left / 1e6:,.1f} MB of archives and unfinished downloads. It may be removed, unless another "
            "part takes files from the same archive"
        )
    return done


@dataclass
class _Places:
    """Which part writes which path. No path may belong to two parts, nor lie inside a path of another part."""

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def claim(self, part: str, paths: Sequence[str]) -> None:
        for path in paths:
            above = [str(parent) for parent in PurePosixPath(path).parents]
            owners = [self.files.get(path), self.folders.get(path), *(self.files.get(parent) for parent in above)]
            if other := next((owner for owner in owners if owner not in (None, part)), None):
                raise DataError.at(
                    path, f"the parts {other} and {part} both write it", "one part per path", do="Change into or only."
                )
        for path in paths:
            self.files[path] = part
            self.folders.update((str(parent), part) for parent in PurePosixPath(path).parents if str(parent) != ".")


class _Work:
    """What is known while one download is made."""

    def __init__(self, name: str, folder: Path, record_path: Path, partial: Path, progress: Watcher) -> None:
        self.name, self.folder, self.record, self.partial, self.progress = name, folder, record_path, partial, progress
        self.recorded = record.read(record_path)
        # Beside the files, not in the record: which settings they answer to says nothing about their bytes.
        self.note = folder / ".fetched.json"
        self.answers: dict[str, Any] = {}
        with suppress(OSError, TypeError, ValueError):
            self.answers = dict(files.read_json(self.note))
        self.places = _Places()

    def part(self, part: str, settings: DownloadSettings) -> None:
        """Leave the part alone where it is whole, else get it; record it."""
        before = self.recorded.get(part, {})
        asked = settings.model_dump(include={"into", "only", "link"})
        same = bool(before) and self.answers.get(part) == asked
        good = self._good(part, before) if same else set()  # after other settings a file may be there as a link
        if same and len(good) == len(before):
            linked = bool(settings.into) and (self.folder / settings.into).is_symlink()
            self.places.claim(part, [settings.into] if linked else [*before])
            self.progress.say(f"{part}: {len(before):,} files are there, as recorded")
            return
        self.recorded[part] = self._first(part, settings, before if same else None, good)
        self.answers[part] = asked
        files.write_json(self.note, self.answers)
        record.write(self.record, self.recorded)

    def _good(self, part: str, before: Files) -> set[str]:
        """The recorded files that are there as recorded."""
        good, done, total = set(), 0, sum(file["bytes"] for file in before.values())
        for inside, file in before.items():
            path = self.folder / inside
            if path.is_file() and path.stat().st_size == file["bytes"]:
                if file.get("sha256") in (None, files.sha256(path)):
                    good.add(inside)
                done += file["bytes"]
                self.progress.show(f"{part}: checking", done, total)
        return good

    def _first(self, part: str, settings: DownloadSettings, same: Files | None, good: set[str]) -> Files:
        """The part from the first source that gives it."""
        problems = []
        for source in settings.sources:
            try:
                with obtain(source, settings, self.partial, self.progress) as got:
                    taken = self._take(part, got, settings, same, good)
            except SourceError as error:
                problems.append(f"\n  {source}: {error}")
                if source is not settings.sources[-1]:
                    self.progress.say(f"{part}: {source} is passed over: {error}")
                continue
            total = sum(file["bytes"] for file in taken.values())
            where = self.folder / settings.into
            self.progress.say(f"{part}: {len(taken):,} files, {total:,} bytes in {where}, from {source}")
            return taken
        raise DataError(
            f"downloads.{self.name}.{part}: no source gives it:{''.join(problems)}\nWhat was downloaded so far is kept. "
            f"Run it again later, add another address to its sources in params.yaml, or download it by hand and put its "
            "path first there."
        )

    def _take(self, part: str, got: Obtained, settings: DownloadSettings, same: Files | None, good: set[str]) -> Files:
        """Put what is wanted of a source into the folder; `same`: what the same settings gave before."""
        link = settings.link and not got.own
        if link and got.path.is_dir() and not settings.only:
            return self._link_folder(part, got.path, settings.into)
        contents, entries = _find(got.path, settings.only)
        placed = destinations(entries, settings.into)
        if same and (gone := next((inside for inside in same if inside not in placed), None)):
            raise SourceError(f"it no longer holds {gone}, which {self.record} lists{self._accept(part)}")
        self.places.claim(part, [*placed])
        if link and isinstance(contents, PlainContents):
            return {inside: self._link(part, inside, contents.file(entry)) for inside, entry in placed.items()}
        missing = {inside: entry for inside, entry in placed.items() if inside not in good}
        self.folder.mkdir(parents=True, exist_ok=True)
        ours = contents if got.own and isinstance(contents, PlainContents) else None
        require_room(self.folder, 0 if ours else _size(missing))
        taken = {inside: self.recorded[part][inside] for inside in placed if inside in good}
        inside_of, done, total = {entry.name: inside for inside, entry in missing.items()}, 0, _size(missing)
        with undamaged(contents.path):
            for entry, handle in contents.read(list(missing.values())):
                inside = inside_of[entry.name]
                taken[inside] = (
                    self._move(part, inside, ours.file(entry)) if ours else self._store(part, inside, entry, handle)
                )
                done += entry.bytes
                self.progress.show(f"{part}: unpacking", done, total)
        return taken

    def _move(self, part: str, inside: str, path: Path) -> File:
        """Move one file that we downloaded; its bytes are checked before it takes its place."""
        file = _described(path)
        self._enforce(part, inside, file)
        move(path, self._target(inside))
        return file

    def _store(self, part: str, inside: str, entry: Entry, handle: IO[bytes]) -> File:
        """Write one file; its bytes are checked before it takes its place."""
        target, temporary = self._target(inside), self.folder / ".unpacking"
        digest, size = hashlib.sha256(), 0
        try:
            with room_on_disk(self.folder), open(temporary, "wb") as out:
                while block := handle.read(_BLOCK):
                    digest.update(block)
                    size += out.write(block)
                out.flush()
                if size >= _BLOCK:  # small files are many; one that a power cut tore is found by its digest
                    os.fsync(out.fileno())
            if size != entry.bytes:
                raise WrongContent(f"{entry.name} has {size:,} bytes where {entry.bytes:,} were announced")
            file = File(bytes=size, sha256=digest.hexdigest())
            self._enforce(part, inside, file)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return file

    def _enforce(self, part: str, inside: str, file: File) -> None:
        """A file that was recorded once is never exchanged for another."""
        before = self.recorded.get(part, {}).get(inside)
        if before and "sha256" in before and "sha256" in file and before["sha256"] != file["sha256"]:
            raise SourceError(
                f"{inside} has changed: sha256 {file['sha256']} ({file['bytes']:,} bytes), {self.record} says "
                f"{before['sha256']} ({before['bytes']:,} bytes){self._accept(part)}"
            )

    def _accept(self, part: str) -> str:
        return (
            f'. To accept what it is now, delete "{part}" from {self.record}; if the download is at fault, delete '
            f"{self.partial}; then run it again"
        )

    def _link(self, part: str, inside: str, path: Path) -> File:
        file = _described(path)
        self._enforce(part, inside, file)
        _symlink(self._target(inside), path)
        return file

    def _link_folder(self, part: str, source: Path, into: str) -> Files:
        """One link to the whole folder."""
        if not into:
            where = f"downloads.{self.name}.{part}"
            raise DataError.at(where, "a folder to link to and no `into`", "the link's name", do="Give `into`.")
        self.places.claim(part, [into])
        contents = PlainContents(source)
        entries = matching(contents.entries, [])
        if not entries:
            raise SourceError("the folder holds no file")
        linked: Files = {}
        for entry in entries:
            file = File(bytes=entry.bytes) if len(entries) >= MANY else _described(contents.file(entry))
            self._enforce(part, f"{into}/{entry.name}", file)
            linked[f"{into}/{entry.name}"] = file
        _symlink(self._target(into), source)
        return linked

    def _target(self, inside: str) -> Path:
        """Where a file goes, its folder made; a link on the way, left by an earlier run, is not written through."""
        target = self.folder / inside
        for parent in reversed(PurePosixPath(inside).parents):
            if str(parent) != "." and (self.folder / parent).is_symlink():
                (self.folder / parent).unlink()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise DataError.at(target.parent, "a file", "a folder", do="Move it away.") from error
        if target.is_dir() and not target.is_symlink():
            raise DataError.at(target, "a folder is there", "room for a file or link", do="Move it away.")
        return target


def _find(path: Path, only: list[str]) -> tuple[Contents, list[Entry]]:
    """The wanted entries of a source, and what holds them: an archive inside a folder where the folder has none itself.

    `SourceError` where nothing matches.
    """
    contents = open_contents(path)
    entries = matching(contents.entries, only if path.is_dir() or is_archive(path) else [])
    if not entries:
        inside = map(contents.file, contents.entries) if isinstance(contents, PlainContents) else ()
        for archive in filter(is_archive, inside):
            inner = open_contents(archive)
            if entries := matching(inner.entries, only):
                return inner, entries
        holds = ", ".join(entry.name for entry in contents.entries[:5]) + (", …" if len(contents.entries) > 5 else "")
        raise SourceError(f"no entry matches {only}; it holds {holds or 'nothing'}; correct `only`")
    return contents, entries


def _described(path: Path) -> File:
    return File(bytes=path.stat().st_size, sha256=files.sha256(path))


def _size(entries: Mapping[str, Entry]) -> int:
    return sum(entry.bytes for entry in entries.values())


def _symlink(target: Path, source: Path) -> None:
    temporary = target.with_name(f".{target.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    os.replace(temporary, target)
