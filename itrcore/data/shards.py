"""WebDataset shards with an Arrow index: one sample per image, byte-reproducible, no pickle.

A shard is a plain tar, so webdataset streams it; on a local disk the index gives each sample's place in it, so training
reads any image at random from the file and can shuffle truly.

    shards/train-00000.tar   {key}.json (ids, file name, captions), {key}.regions.npy, {key}.boxes.npy where there are boxes
    shards/train.arrow       index: key, image_id, shard, offset of the feature values, n_regions
    shards/shards.json       counts, sizes and SHA-256 of every shard and index; what the features are; its own digest
"""

from __future__ import annotations

import io
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import webdataset

from itrcore.errors import DataError
from itrcore.files import digest, read_json, sha256

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_id", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # bytes from the start of the shard to the first feature value
        ("n_regions", pa.int32()),
    ]
)


@dataclass(frozen=True)
class ShardInfo:
    """What `shards.json` says about the data set."""

    features: str
    width: int
    digest: str

    @classmethod
    def read(cls, folder: Path) -> ShardInfo:
        """Read it; `DataError` where it is missing."""
        value = _read_description(folder)
        return cls(value["features"], value["width"], value["digest"])


class FeatureStore:
    """The region features of one split, read at random from the shards.

    Read, not memory-mapped: as fast, and mapped pages would count as this process's memory, and a shard that is cut
    short while it is in use would end the process without a word.
    """

    def __init__(self, folder: Path, split: str) -> None:
        """`DataError` names a damaged index, and a shard that is missing or of another size; see `verify` for the rest."""
        self.folder = folder
        described = _read_description(folder)
        self.width: int = described["width"]
        self._dtype = np.dtype(described["dtype"])
        self._files: list[dict[str, Any]] = described["splits"][split]["shards"]
        index_path = folder / f"{split}.arrow"
        if not index_path.exists() or sha256(index_path) != described["splits"][split]["index_sha256"]:
            raise _damaged(index_path, "no such file" if not index_path.exists() else "its bytes have changed")
        with pa.memory_map(str(index_path)) as source:
            index = pa.ipc.open_file(source).read_all()
        self.image_ids: list[int] = index["image_id"].to_pylist()
        self.n_regions = index["n_regions"].to_numpy()
        self._shard = index["shard"].to_numpy()
        self._offset = index["offset"].to_numpy()
        self._check_sizes()
        self._descriptors = [os.open(folder / file["file"], os.O_RDONLY) for file in self._files]
        weakref.finalize(self, _close, self._descriptors)

    def __len__(self) -> int:
        return len(self.image_ids)

    def gather(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features of the given images: float32 (n, max n_regions, width), zero-padded, and lengths (n,).

        `DataError` names a shard that was cut short after it was opened.
        """
        lengths = self.n_regions[rows]
        out = _zeros((len(rows), int(lengths.max(initial=0)), self.width))
        for i, row in enumerate(rows):
            out[i, : lengths[i]] = self._read(row)
        return out, lengths

    def verify(self) -> None:
        """Read every shard once. `DataError` names one whose bytes are not those that were written."""
        for file in self._files:
            path = self.folder / file["file"]
            if sha256(path) != file["sha256"]:
                raise _damaged(path, f"its bytes have changed (sha256 is not {file['sha256'][:12]}…)")

    def _read(self, row: int) -> np.ndarray:
        values = np.empty((int(self.n_regions[row]), self.width), self._dtype)
        shard = int(self._shard[row])
        if os.preadv(self._descriptors[shard], [values.data], int(self._offset[row])) != values.nbytes:
            raise _damaged(self.folder / self._files[shard]["file"], "it was cut short while in use")
        return values

    def _check_sizes(self) -> None:
        for file in self._files:
            path = self.folder / file["file"]
            size = path.stat().st_size if path.exists() else 0
            if size != file["bytes"]:
                raise _damaged(path, f"found {size:,} bytes" if size else "no such file, or empty")


def samples(path: Path) -> Iterator[dict[str, Any]]:
    """Stream one shard through webdataset: dictionaries with `json`, `regions` (n_regions, width) and perhaps `boxes`."""
    for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False):
        decoded: dict[str, Any] = {"key": sample["__key__"], "json": json.loads(sample["json"])}
        for name in ("regions", "boxes"):
            if f"{name}.npy" in sample:
                decoded[name] = np.load(io.BytesIO(sample[f"{name}.npy"]), allow_pickle=False)
        yield decoded


def _zeros(shape: tuple[int, int, int]) -> np.ndarray:
    """float32 zeros on a 64-byte boundary. numpy's own vary in it, and with it how products over them are summed."""
    size = 4 * int(np.prod(shape))
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.float32).reshape(shape)


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "shards.json"
    try:
        value: dict[str, Any] = read_json(path)
    except (FileNotFoundError, ValueError) as error:
        raise DataError.at(path, f"cannot be read ({error})", "finished shards", do="Run: dvc repro") from error
    if not isinstance(value, dict) or value.get("digest") != digest({k: v for k, v in value.items() if k != "digest"}):
        raise _damaged(path, "its digest is not that of its content")
    return value


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _damaged(path: Path, found: str) -> DataError:
    return DataError.at(
        path, f"this file is damaged: {found}", "it as written", do=f"Remove {path.parent} and run: dvc repro"
    )
