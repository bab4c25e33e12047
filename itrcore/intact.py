"""Whether files are still as the pipeline wrote them: a disk may rot, a hand may slip, and DVC's cache keeps the damage.

What a figure rests on has its SHA-256 in a record, which is written with it and checked before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.files import read_json, sealed, sha256, sha256_of_all, write_sealed

FILES = "files.json"


def check(folder: Path, files: Mapping[str, str]) -> None:
    """`DataError` names the first file of a folder that is missing or has other bytes than its record says.

    files: path below the folder → SHA-256
    """
    for name, wanted in files.items():
        path = folder / name
        if not path.is_file():
            raise DataError.damaged(path, "no such file")
        if sha256(path) != wanted:
            raise DataError.damaged(path)


def seal(folder: Path) -> None:
    """Write files.json, the record of all that is in a folder, for `check_sealed`."""
    write_sealed(folder / FILES, {name: value for name, value in sha256_of_all(folder).items() if name != FILES})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` was given. `DataError` where the file is missing or has changed."""
    try:
        return sealed(read_json(path))
    except (OSError, ValueError) as error:
        raise DataError.damaged(path, f"it cannot be read ({error})") from error


def check_sealed(folder: Path, *endings: str) -> dict[str, str]:
    """The files of a sealed folder, path → SHA-256. `DataError` names the first that is missing or has changed.

    endings: of the files that are checked, such as `.npy`; without any, all are
    """
    files: dict[str, str] = read_sealed(folder / FILES)
    check(folder, {name: wanted for name, wanted in files.items() if not endings or name.endswith(endings)})
    return files
