"""Digests of what a run reads of a prepared data set, split by split: captions, images, vocabulary. No torch here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from itrcore.data import captions
from itrcore.data.shards.files import read_description
from itrcore.files import digest, sha256


def captions_of(table: Path, split: str) -> str:
    """Digest of the captions of a split and the images that they belong to. `DataError` where there is no such table."""
    return _captions_of(table, split, _stamp(table))


def images_of(shards: Path, split: str) -> str | None:
    """Digest of the samples of a split, as written with their shards; None where there are no such shards."""
    if not shards.exists():
        return None
    return digest(read_description(shards)["splits"][split])


def file_or_folder(path: Path) -> str | None:
    """Digest of a file, or of all files of a folder with their names; None where there is none."""
    if path.is_dir():
        return digest({str(file.relative_to(path)): _file(file) for file in path.rglob("*") if file.is_file()})
    return _file(path) if path.is_file() else None


def _file(path: Path) -> str:
    return _sha256(path, _stamp(path))


# Many runs read the same files. Each is read once, and again only if it was written again in the same process.
_Stamp = tuple[int, int, int, int] | None


def _stamp(path: Path) -> _Stamp:
    if not path.exists():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@cache
def _captions_of(table: Path, split: str, stamp: _Stamp) -> str:
    rows = captions.rows_of(captions.read_table(table), split)
    return digest({name: rows[name].to_pylist() for name in ("image_id", "position", "caption_id", "text")})


@cache
def _sha256(path: Path, stamp: _Stamp) -> str:
    return sha256(path)
