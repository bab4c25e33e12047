"""Region features as WebDataset shards with an Arrow index: one sample per image, byte-reproducible, no pickle.

A shard is a plain tar, so webdataset streams it; the index gives each sample's place in it, so training reads any image
at random from the file and can shuffle truly.

    train-00000.tar   {key}.json (ids, file name, captions), {key}.regions.npy, {key}.boxes.npy where there are boxes
    train.arrow       index: key, image_id, shard, offset of the feature values, n_regions
    shards.json       counts, sizes and SHA-256 of every shard and index; what the features are; its own digest
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itrcore.data.shards.checks import Kind, numbers
from itrcore.data.shards.files import Store, read_description
from itrcore.errors import DataError
from itrcore.files import parse_json
from itrcore.unpacking import damage_as, members, opened_tar

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_id", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # bytes from the start of the shard to the first feature value
        ("n_regions", pa.int32()),
    ]
)

KIND = Kind(INDEX_SCHEMA, ("features", "dtype", "width"))


@dataclass(frozen=True)
class ShardInfo:
    """What `shards.json` says about the data set."""

    features: str
    width: int
    digest: str

    @classmethod
    def read(cls, folder: Path) -> ShardInfo:
        """Read it; `DataError` where it is missing or wrong."""
        value = read_description(folder, KIND)
        return cls(value["features"], value["width"], value["digest"])


class FeatureStore(Store):
    """The region features of one split, read at random from the shards.

    n_regions: (n,) regions of each image
    """

    kind = KIND

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__(folder, split)
        described = read_description(folder, KIND)
        self.width: int = described["width"]
        self.dtype = np.dtype(described["dtype"])
        self.n_regions: np.ndarray = numbers(self._index, "n_regions")

    @property
    def n_bytes(self) -> int:
        """Of all its features, as they are stored."""
        return int(self.n_regions.sum()) * self.width * int(self.dtype.itemsize)

    def gather(
        self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None = None, stored: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of the given images: float32 (n, max length, width), zero-padded, and lengths (n,).

        keep: (n, max n_regions of these images) the regions to take of each image, in their order; by default all
        stored: leave the features in the type that they are stored in
        `DataError` names a shard that was cut short after it was opened.
        """
        import torch  # not at the top: the processes that write shards do without it

        counts = self.n_regions[rows]
        lengths = counts if keep is None else keep.sum(axis=1)
        kind = self.dtype if stored else np.dtype(np.float32)
        out = _empty((len(rows), int(lengths.max(initial=0)), self.width), kind)
        target = torch.from_numpy(out)
        values = np.empty((int(counts.max(initial=0)), self.width), self.dtype)
        shards, offsets = self._shard[rows], self._offset[rows]
        order = np.lexsort((offsets, shards))  # as the disk has them
        for i in order:
            self._files.expect(int(shards[i]), int(offsets[i]), values[: counts[i]].nbytes)
        for i in order:
            image = values[: counts[i]]
            self._files.read(int(shards[i]), int(offsets[i]), image)
            # torch's conversion from float16 is about 15 times as fast as numpy's, and other threads run meanwhile.
            target[i, : lengths[i]] = torch.from_numpy(image if keep is None else image[keep[i, : counts[i]]])
            target[i, lengths[i] :] = 0
        return out, lengths

    def boxes(self, row: int) -> np.ndarray | None:
        """The boxes of an image's regions, float32 (n_regions, 4): x1, y1, x2, y2 in pixels of the picture as stored.

        None where the data set has none. `DataError` names a shard that was changed or cut short.
        """
        # The index has no column for them, so that older shards stay valid. A sample's members are in the order of
        # their names: boxes come first, where the sample before ends, and region features last.
        shard = int(self._shard[row])
        start = 0
        if row and self._shard[row - 1] == shard:
            values = int(self.n_regions[row - 1]) * self.width * self.dtype.itemsize
            start = -(-(int(self._offset[row - 1]) + values) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        try:
            member = tarfile.TarInfo.frombuf(self._read(shard, start, tarfile.BLOCKSIZE), "utf-8", "strict")
            if not member.name.endswith(".boxes.npy"):
                return None
            # The size may be any number: the features, which the index has placed inside the shard, lie behind the boxes.
            if not 0 <= member.size <= int(self._offset[row]) - start - tarfile.BLOCKSIZE:
                raise ValueError(f"boxes of {member.size} bytes")
            data = self._read(shard, start + tarfile.BLOCKSIZE, member.size)
            boxes = _array(data)
            if boxes.shape != (self.n_regions[row], 4) or boxes.dtype != np.float32:
                raise ValueError(f"boxes {boxes.shape} of {boxes.dtype}")
        except (tarfile.HeaderError, ValueError) as error:
            raise DataError.at(
                self._files.paths[shard], f"its bytes have changed ({error})", "boxes as they were written", row
            ) from error
        return boxes


def samples(path: Path) -> Iterator[dict[str, Any]]:
    """Stream one shard: dictionaries with `json`, `regions` (n_regions, width) and perhaps `boxes`.

    `DataError` where it is no shard, or a damaged one.
    """
    from webdataset.tariterators import group_by_keys

    # Not through `webdataset.WebDataset`: it reads a path as an address (braces, `::`, `?`, a scheme), leaves shards out
    # where RANK or WORKER in the environment says that others read them, and lets a hostile tar fill the memory.
    with damage_as(lambda wrong: DataError.at(path, f"damaged ({wrong})", "a shard", do="Get it again.")):
        for sample in group_by_keys(_members(path)):
            decoded: dict[str, Any] = {"key": sample["__key__"], "json": parse_json(sample.get("json", b""))}
            for name in ("regions", "boxes"):
                if f"{name}.npy" in sample:
                    decoded[name] = _array(sample[f"{name}.npy"])
            yield decoded


def _members(path: Path) -> Iterator[dict[str, Any]]:
    with opened_tar(path, "r:") as archive:
        for member in members(archive, path.stat().st_size):
            if member.isreg() and (stream := archive.extractfile(member)) is not None:
                yield {"fname": member.name, "data": stream.read(), "__url__": str(path)}


def _array(data: bytes) -> np.ndarray:
    """The array in the bytes of a `.npy`. `ValueError` for anything else."""
    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (
        Exception
    ) as error:  # numpy reads the header with Python's parser, which has many ways to refuse damaged text
        raise ValueError(f"not a .npy: {error}") from error
    if not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{array.dtype} in place of numbers")
    return array


def _empty(shape: tuple[int, int, int], kind: np.dtype) -> np.ndarray:
    """On a 64-byte boundary. numpy's own vary in it, and with it how products over them are summed."""
    size = kind.itemsize * int(np.prod(shape))
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(kind).reshape(shape)
