"""A folder of shards, whatever their samples are: its description, its indexes, and the files behind a split.

shards.json      counts, sizes and SHA-256 of every shard and index; what the samples are; its own digest
{split}.arrow    index: one row per sample, with its shard and place in it
{split}-*.tar    the shards; where `<folder>.remote.json` lies beside the folder, they are taken from `itrcore/data/shards/cache.py`
"""

from __future__ import annotations

import hashlib
import os
import resource
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa

from itrcore import limits
from itrcore.announce import announced
from itrcore.arrays import read_buffer
from itrcore.data.shards.cache import ShardCache
from itrcore.data.shards.checks import Kind, check_description, check_index, index_table, numbers
from itrcore.data.shards.verified import Verified
from itrcore.errors import DataError
from itrcore.files import WrongKind, read_json, sealed

_KEPT_OPEN = 128
_T = TypeVar("_T")


def read_description(
    folder: Path, kind: Kind | None = None, where: Path | str = "", do: str = "Run: dvc repro"
) -> dict[str, Any]:
    """`shards.json`. `DataError` where it is missing, is not as it was written, or says what cannot be.

    kind: what else it has to say; None: nothing but its splits is read
    where, do: for messages: where it is from, and what to do
    """
    path = folder / "shards.json"
    where = where or path
    try:
        value = read_json(path)
    except (FileNotFoundError, ValueError) as error:
        raise DataError.at(where, f"cannot be read ({error})", "finished shards", do=do) from error
    try:
        sealed(value)
    except ValueError as error:
        raise _damaged(path, str(error), where, do) from error
    try:
        check_description(value, kind)
    except WrongKind as error:
        raise DataError.at(where, error.found, error.expected, do=do) from error
    return dict(value)


def read_index(folder: Path, split: str, kind: Kind, where: Path | str = "", do: str = "Run: dvc repro") -> pa.Table:
    """The index of a split. `DataError` where it is missing, is not the one that `shards.json` describes, or is malformed.

    where, do: as for `read_description`
    """
    path = folder / f"{split}.arrow"
    where = where or path
    described = read_description(folder, kind)
    # Read once and as a whole: mapped, a file that is cut short meanwhile would end the process.
    try:
        data = read_buffer(path, limits.TEXT) if path.exists() else None
        if data is None or hashlib.sha256(data).hexdigest() != described["splits"][split]["index_sha256"]:
            raise _damaged(path, "no such file" if data is None else "its bytes have changed", where, do)
        table = index_table(data, kind.schema)
        check_index(table, described, split)
    except WrongKind as error:
        raise DataError.at(where, error.found, error.expected, do=do) from error
    except ValueError as error:
        raise DataError.at(where, str(error), "an index", do=do) from error
    return table


class Store:
    """One split's samples, read at random from the shards, whatever they are.

    image_ids: of every sample, in order
    """

    kind: ClassVar[Kind]

    def __init__(self, folder: Path, split: str) -> None:
        """`DataError` names a damaged or wrong index, and a shard that is missing or of another size; see `verify` for the rest."""
        self.folder = folder
        self._index = read_index(folder, split, self.kind)
        self.image_ids: list[int] = self._index["image_id"].to_pylist()
        self._shard, self._offset = numbers(self._index, "shard"), numbers(self._index, "offset")
        self._files = ShardFiles(folder, split)

    def __len__(self) -> int:
        return len(self.image_ids)

    def verify(self, records: Path | None = None) -> None:
        """As `ShardFiles.verify`."""
        self._files.verify(records)

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        """`DataError` names a shard that was cut short after it was opened."""
        data = np.empty(size, np.uint8)
        self._files.read(shard, offset, data)
        return data.tobytes()


class ShardFiles:
    """The shards of one split, open for reading; of very many, the first alone, and each of the others while it is read.

    Read, not memory-mapped: as fast, and mapped pages would count as this process's memory, and a shard that is cut
    short while it is in use would end the process without a word.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """Published shards that are not in the cache are downloaded here and now, all of the split's.

        A truly shuffled epoch asks for nearly all of them at once: of Flickr30K's 29 shards of 1,000 images the first
        batch of 128 needs 28.7, of MS-COCO's 114 it needs 77.

        `DataError` names a shard that is missing, of another size, or cannot be downloaded; see `verify` for the rest.
        """
        self.folder, self._split = folder, split
        self._files: list[dict[str, Any]] = read_description(folder)["splits"][split]["shards"]
        self._cache = ShardCache.of(folder)
        if self._cache:
            self.paths = self._cache.fetch(self._files)
        else:
            self.paths = [folder / file["file"] for file in self._files]
            self._check_sizes()
        self.descriptors: list[int] = []
        weakref.finalize(self, _close, self.descriptors)
        for shard in range(min(len(self.paths), _kept_open())):
            self.descriptors.append(self._open(shard))

    def read(self, shard: int, offset: int, values: np.ndarray) -> None:
        """Fill the contiguous array with the bytes from `offset` on. `DataError` where the shard ends too early."""
        if (
            offset < 0
            or self._use(shard, lambda descriptor: os.preadv(descriptor, [values.data], offset)) != values.nbytes
        ):
            raise self._damaged(shard, "it was cut short while in use")

    def expect(self, shard: int, offset: int, size: int) -> None:
        """Have the system read ahead what will soon be asked for."""
        if hasattr(os, "posix_fadvise"):  # not on macOS
            self._use(shard, lambda descriptor: os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED))

    def verify(self, records: Path | None = None) -> None:
        """Read every shard once. `DataError` names one whose bytes have changed.

        records: the folder that records which ones were read before; those are read again only if they were touched since
        """
        verified = Verified(records and records / f"{self._split}.json")
        unread = [
            shard for shard, file in enumerate(self._files) if not verified.knows(self.paths[shard], file["sha256"])
        ]
        size = sum(self._files[shard]["bytes"] for shard in unread) / 1e9
        try:
            with announced(f"Verifying {len(unread):,} shards of {self._split}, {size:,.1f} GB") as count:
                for done, shard in enumerate(unread):
                    count(done, len(unread))
                    if not verified.check(self.paths[shard], wanted := self._files[shard]["sha256"]):
                        raise self._damaged(shard, f"its bytes have changed (sha256 is not {wanted[:12]}…)")
        finally:  # of Ctrl-C, too
            if unread:
                verified.save()

    def _use(self, shard: int, use: Callable[[int], _T]) -> _T:
        """A shard that is not kept open is opened for this one use: threads share nothing that could be closed."""
        if shard < len(self.descriptors):
            return use(self.descriptors[shard])
        descriptor = self._open(shard)
        try:
            return use(descriptor)
        finally:
            os.close(descriptor)

    def _open(self, shard: int) -> int:
        try:
            return os.open(self.paths[shard], os.O_RDONLY)
        except FileNotFoundError as error:
            raise self._damaged(shard, "it was removed while in use") from error
        except OSError as error:
            where, found = self.paths[shard], f"cannot be opened ({error.strerror})"
            raise DataError.at(where, found, "a file that can be read") from error

    def _check_sizes(self) -> None:
        for shard, file in enumerate(self._files):
            path = self.paths[shard]
            size = path.stat().st_size if path.exists() else 0
            if size != file["bytes"]:
                raise self._damaged(shard, f"found {size:,} bytes" if size else "no such file, or empty")

    def _damaged(self, shard: int, found: str) -> DataError:
        path = self.paths[shard]
        if self._cache:
            do = "Remove it and run again: it is downloaded anew."
            return DataError.at(path, f"this file is damaged: {found}", "the shard as published", do=do)
        return _damaged(path, found)


def _kept_open() -> int:
    """How many shards of a split stay open: few enough that all splits, regions and pictures, keep below the system's limit.

    With 1,000 images each, MS-COCO has 114 shards. To open each anew makes reading a tenth slower (36 regions of width 2,048).
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _KEPT_OPEN if limit == resource.RLIM_INFINITY else min(_KEPT_OPEN, limit // 8)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _damaged(path: Path, found: str, where: Path | str = "", do: str = "Run: dvc repro") -> DataError:
    if where in ("", path):
        return DataError.damaged(path, found)
    return DataError.at(where, f"this file is damaged: {found}", "it as it was written", do=do)
