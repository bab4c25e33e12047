"""Files written so that a killed process leaves the old or the new one; JSON read, whatever it holds; digests of files."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from itrcore import limits

_UMASK = os.umask(0)  # it cannot be read without being set
os.umask(_UMASK)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is flushed to disk and renamed to `path`.

    Who may read it is what the umask says. On an error the temporary file or folder is removed and `path` is left as it was.
    Leftovers of a killed process are removed by the next one that writes the same path; an old folder that had stepped aside is
    put back first.

    What the system refuses, such as room on a full disk, is an `OSError` that names the file, whatever the library that wrote
    raises for it.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # /dev/null would be gone for the whole machine
        raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        for file in [temporary] if temporary.is_file() else temporary.rglob("*"):
            if file.is_file() and not file.is_symlink() and not file.stat().st_mode & 0o077:
                file.chmod(0o666 & ~_UMASK)  # safetensors writes for the owner alone
        if temporary.is_file():
            _flush(temporary)
        if temporary.is_file() and not path.is_dir():
            os.replace(temporary, path)
        else:
            _replace_folder(temporary, path)
    except BaseException as error:
        refused = _refused(error, temporary, path)  # looked at first: removing makes room
        with suppress(OSError):  # of a disk that may not be written: it would hide what was wrong
            remove(temporary)
        if refused is None or refused is error:
            raise
        raise refused from error


# What a disk refuses when it is written: no room, or none for this user or of this size; a disk that fails.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)


def _refused(error: BaseException, temporary: Path, path: Path) -> OSError | None:
    """The system's refusal behind an error of writing `temporary`, as one of `path`; None where it is another error."""
    if isinstance(error, OSError) and error.errno:
        named = error.filename2 or error.filename  # of a copy, the file that is written
        if named is not None and not Path(os.fsdecode(named)).is_relative_to(temporary):
            return error
        # A write to a full disk does not say where.
        inside = "" if named is None else os.fsdecode(named).removeprefix(str(temporary))
        return OSError(error.errno, os.strerror(error.errno), f"{path}{inside}")
    if not isinstance(error, Exception) or type(error).__module__.startswith("itrcore."):
        return None
    # safetensors, Arrow and copies of folders tell the refusal as text; numpy and Pillow not even so.
    number = next((number for number in _REFUSALS if os.strerror(number) in str(error)), None)
    if number is None and isinstance(error, OSError) and not error.args[1:] and _is_full(path.parent):
        number = errno.ENOSPC
    return None if number is None else OSError(number, os.strerror(number), str(path))


def _is_full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail == 0 or disk.f_favail == 0


def _replace_folder(new: Path, path: Path) -> None:
    # A folder cannot be replaced in one call: the old one steps aside, and comes back if the new one cannot take its place.
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        if path.exists():
            os.replace(path, old)
        os.replace(new, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise
    remove(old)


def _tidy(path: Path) -> None:
    # Leftovers of this process too: it writes a path once at a time.
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        pid, _, kind = left.name.removeprefix(f".{path.name}.").partition(".")
        if pid.isdigit() and kind in ("tmp", "old") and (int(pid) == os.getpid() or not _alive(int(pid))):
            if kind == "old" and not path.exists():
                os.replace(left, path)  # its process was killed before the new one took its place
            else:
                remove(left)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flush(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def inside(file_name: str) -> bool:
    """Whether a file can have the name, and it stays inside the folder it is joined to, on any system.

    Judged by the name alone: DVC may have linked the file itself into its cache.
    """
    for path in (PurePosixPath(file_name), PureWindowsPath(file_name)):
        if path.is_absolute() or path.anchor or ".." in path.parts:
            return False
    return nameable(file_name)


def nameable(file_name: str) -> bool:
    """Whether a file can have the name, perhaps with folders before it."""
    try:
        longest = max(len(part.encode()) for part in file_name.split("/"))
    except UnicodeEncodeError:  # half a character
        return False
    return (
        "\0" not in file_name and bool(file_name.strip()) and longest <= limits.NAME and len(file_name) <= limits.PATH
    )


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically. NaN and infinity are refused: JSON has neither."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of itself, atomically, for `sealed`."""
    write_json(path, {**value, "digest": digest(value)})


def sealed(value: Any) -> dict[str, Any]:
    """What `write_sealed` was given. `ValueError` where it is not as it was written."""
    if not isinstance(value, dict) or "digest" not in value:
        raise ValueError("it has no digest of its content")
    content = {key: inner for key, inner in value.items() if key != "digest"}
    if digest(content) != value["digest"]:
        raise ValueError("its digest is not that of its content")
    return content


def read_json(path: Path, limit: int = limits.JSON) -> Any:
    """What a UTF-8 JSON file holds. `ValueError` for whatever is wrong with it, as `parse_json` says. limit: bytes"""
    return parse_json(read_within(path, limit))


def read_within(path: Path, limit: int) -> bytes:
    """The bytes of a file. `ValueError` where they are more than `limit`; nothing is read then."""
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        data = handle.read(limit + 1) if size <= limit else b""  # a device has no size
    if max(size, len(data)) > limit:
        raise ValueError(f"it has {max(size, len(data)):,} bytes, more than {limit:,}")
    return data


def parse_json(data: bytes | str) -> Any:
    """What a JSON text holds. `ValueError`, and nothing else, for whatever a text from outside may have in it.

    Refused are texts that Python's `json` reads and that mean nothing or two things: NaN and infinity, a key given twice,
    half a character. Numbers have at most 64 bits, and objects and lists lie inside each other at most `limits.DEPTH` deep.
    """
    if not data:
        raise ValueError("an empty file")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_once, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
        if re.search(r"\\u[dD][89a-fA-F]", text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"not UTF-8: {error.reason}") from None
    _check_depth(value)
    return value


_TOO_DEEP = f"more than {limits.DEPTH} objects or lists inside each other"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {kind_of(twice)} is given twice")
    return value


def _whole(digits: str) -> int:
    if len(digits) > limits.DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise ValueError(f"the number {number[:20]}")
    return value


def _check_depth(value: Any) -> None:
    """Much deeper ones would be too deep for what is done with them."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limits.DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


class WrongKind(ValueError):
    """A file from outside, or a value in it, is of another kind than it should be.

    found: which value it is and what it holds; expected: what it should hold; for messages
    """

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"{found}; expected {expected}")
        self.found, self.expected = found, expected


def text_of(value: Any, what: str) -> str:
    """A JSON value that has to be text. `WrongKind` where it is not: `str` would make the text "None" of null.

    what: names the value in the message
    """
    if not isinstance(value, str):
        raise WrongKind(f"{what} is {kind_of(value)}", "text")
    return value


def number_of(value: Any, what: str) -> int:
    """A JSON value that has to be a whole number of 64 bits, perhaps written as text or as 3.0. `WrongKind` where it is not.

    what: names the value in the message
    """
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or not -(2**63) <= value < 2**63:
        raise WrongKind(f"{what} is {kind_of(value)}", "a whole number")
    return int(value)


def kind_of(value: Any) -> str:
    """How a message shows a JSON value."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_all(folder: Path) -> dict[str, str]:
    """Path below the folder → SHA-256, of every file in it, in the order of their paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
