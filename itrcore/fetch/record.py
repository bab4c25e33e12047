"""The record of a download: each file's size and SHA-256, enforced once written; what reads the files can rely on it.

    {"features": {"files": {"precomp/train_ims.npy": {"bytes": 8552448128, "sha256": "…"}, …}}, …}

Parts in the order of their names, files in the order of their paths, so that its bytes depend on the files alone. A folder
that is linked to and holds a thousand files or more has sizes without digests: pictures are many and read again anyway.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from itrcore import layout
from itrcore.errors import DataError
from itrcore.files import inside as is_inside
from itrcore.files import number_of, read_json, replacing, text_of
from itrcore.files import sha256 as hash_file


class File(TypedDict):
    """One file: its size and, but in large linked folders, the SHA-256 of its bytes."""

    bytes: int
    sha256: NotRequired[str]


Files = dict[str, File]  # path in the download's folder, with / → file


def read(path: Path) -> dict[str, Files]:
    """Part → its files; nothing where there is no record yet. `DataError` where it is not what `write` writes."""
    try:
        data = read_json(path)
        if outside := [name for entry in data.values() for name in entry["files"] if not is_inside(name)]:
            raise ValueError(f"{outside[0][:80]!r} is no name inside the download's folder")
        return {part: {name: _file(**file) for name, file in entry["files"].items()} for part, entry in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError.at(
            path, f"not readable ({error})", "a download's record", do="Restore it, or delete it to start anew."
        ) from error


def _file(bytes: int, sha256: str | None = None) -> File:
    size = number_of(bytes, "bytes")
    return File(bytes=size) if sha256 is None else File(bytes=size, sha256=text_of(sha256, "sha256"))


def write(path: Path, parts: Mapping[str, Files]) -> None:
    """Write the record atomically, one line per file."""
    blocks = []
    for part, files in sorted(parts.items()):
        lines = [f"   {json.dumps(n, ensure_ascii=False)}: {json.dumps(f)}" for n, f in sorted(files.items())]
        blocks.append(f' {json.dumps(part)}: {{\n  "files": {{\n' + ",\n".join(lines) + "\n  }\n }")
    with replacing(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


def check_present(path: Path, folder: Path) -> None:
    """`DataError` where there is no record at `path`, or `folder` lacks one of its files or has it with another size.

    Digests are not checked.
    """
    name = path.stem
    do = f"Run: dvc repro --force --single-item fetch@{name}"
    if not path.exists():
        raise DataError.at(path, "no such file", "the record of a finished download", do=do)
    for files in read(path).values():
        for inside, file in files.items():
            try:
                size = os.stat(folder / inside).st_size
            except OSError as error:
                raise DataError.at(folder / inside, f"{error.strerror}", "a downloaded file", do=do) from error
            if size != file["bytes"]:
                raise DataError.at(folder / inside, f"{size:,} bytes", f"{file['bytes']:,}, as downloaded", do=do)


def owner(path: Path, downloads: Path = layout.DOWNLOADS) -> str | None:
    """The download that a path lies in; None for any other path."""
    inside = _inside(path, downloads)
    return inside.parts[0] if inside else None


def sha256(path: Path, downloads: Path = layout.DOWNLOADS) -> str:
    """SHA-256 of a file. Of a downloaded one it is taken from the record, so that tens of gigabytes are not read again.

    A link is read: what it points to belongs to the user, and may have changed since. So is a file that the record lacks,
    or has with another size.
    """
    inside = _inside(path, downloads)
    if inside:
        folder = downloads / inside.parts[0]
        on_the_way = [folder.joinpath(*inside.parts[1 : depth + 1]) for depth in range(1, len(inside.parts))]
        if not any(place.is_symlink() for place in on_the_way):
            name = "/".join(inside.parts[1:])
            for files in read(downloads / f"{inside.parts[0]}.json").values():
                file = files.get(name)
                if file and "sha256" in file and file["bytes"] == path.stat().st_size:
                    return file["sha256"]
    return hash_file(path)


def _inside(path: Path, downloads: Path) -> Path | None:
    inside = Path(os.path.relpath(path, downloads))  # links are not followed: what is asked for is their name
    return inside if inside.parts and ".." not in inside.parts else None
