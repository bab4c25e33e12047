"""Digests of what a run reads of a prepared data set, split by split: captions, images, vocabulary. No torch here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pyarrow.compute as pc

from itrcore.data import captions
from itrcore.data.shards.files import read_description
from itrcore.files import digest, sha256


@cache
def captions_of(table: Path, split: str) -> str:
    """Of the captions of a split and the images that they belong to. `DataError` where there is no such table."""
    rows = captions.read_table(table)
    rows = rows.filter(pc.equal(rows["split"], split))
    return digest({name: rows[name].to_pylist() for name in ("image_id", "position", "caption_id", "text")})


def images_of(shards: Path, split: str) -> str | None:
    """Of the samples of a split, as their shards and index were written; None where there are no such shards."""
    if not shards.exists():
        return None
    return digest(read_description(shards)["splits"][split])


@cache
def file_or_folder(path: Path) -> str | None:
    """Of a file, or of all files of a folder with their names; None where there is none."""
    if path.is_dir():
        return digest({str(file.relative_to(path)): sha256(file) for file in path.rglob("*") if file.is_file()})
    return sha256(path) if path.is_file() else None
