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
from typing import NamedTuple, NotRequired, TypedDict

from itrcore import layout
from itrcore.errors import DataError
from itrcore.files import digest, replacing


class File(TypedDict):
    """One file: its size and, but in large linked folders, the SHA-256 of its bytes."""

    bytes: int
    sha256: NotRequired[str]


Files = dict[str, File]  # path in the download's folder, with / → file


class Covering(NamedTuple):
    """The record that speaks for a path, and a digest of what it says of the files there."""

    record: Path
    digest: str


def read(path: Path) -> dict[str, Files]:
    """Part → its files; nothing where there is no record yet. `DataError` where it is not what `write` writes."""
    try:
        data = json.loads(path.read_text("utf-8"))
        return {part: {name: _file(**file) for name, file in entry["files"].items()} for part, entry in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError.at(
            path, f"not readable ({error})", "a download's record", do="Restore it, or delete it to start anew."
        ) from error


def _file(bytes: int, sha256: str | None = None) -> File:
    return File(bytes=bytes) if sha256 is None else File(bytes=bytes, sha256=sha256)


def write(path: Path, parts: Mapping[str, Files]) -> None:
    """Write the record atomically, one line per file."""
    blocks = []
    for part, files in sorted(parts.items()):
        lines = [f"   {json.dumps(n, ensure_ascii=False)}: {json.dumps(f)}" for n, f in sorted(files.items())]
        blocks.append(f' {json.dumps(part)}: {{\n  "files": {{\n' + ",\n".join(lines) + "\n  }\n }")
    with replacing(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(blocks) + "\n}\n", "utf-8")


def check_present(path: Path, folder: Path) -> None:
    """Every file of the record is in `folder` at its size (digests are not computed). `DataError` names the first that is not.

    `DataError` too where there is no record.
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


def covering(path: Path, downloads: Path = layout.DOWNLOADS) -> Covering | None:
    """The record that covers a file or folder below `downloads`; None for any other path, and where nothing is recorded.

    The digest is of the recorded files' paths below `path`, sizes and SHA-256; no file is read.
    """
    inside = Path(os.path.relpath(path, downloads))  # links are not followed: they stand for what they point to
    if ".." in inside.parts or len(inside.parts) == 0:
        return None
    record, below = downloads / f"{inside.parts[0]}.json", "/".join(inside.parts[1:])
    found = {
        name.removeprefix(below).removeprefix("/"): file
        for files in read(record).values()
        for name, file in files.items()
        if not below or name == below or name.startswith(f"{below}/")
    }
    return Covering(record, digest(found)) if found else None
