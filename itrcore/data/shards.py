"""WebDataset shards with an Arrow index: one sample per image, byte-reproducible, no pickle.

A shard is a plain tar, so webdataset streams it; on a local disk the index gives each sample's place in it, so training
reads any image at random from the memory-mapped file and can shuffle truly.

    shards/train-00000.tar   {key}.json (ids, file name, captions), {key}.regions.npy, {key}.boxes.npy where there are boxes
    shards/train.arrow       index: key, image_id, shard, offset of the feature values, n_regions
    shards/shards.json       counts, sizes and SHA-256 of every shard; what the features are
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import webdataset

from itrcore.data import captions as caption_table
from itrcore.data import scan
from itrcore.data.captions import Image
from itrcore.data.settings import SPLITS, ShardSettings
from itrcore.errors import DataError
from itrcore.files import digest, read_json, sha256, write_json

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_id", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # bytes from the start of the shard to the first feature value
        ("n_regions", pa.int32()),
    ]
)


def write(
    raw: Path,
    split_names: dict[str, str],
    table: Path,
    features: str,
    settings: ShardSettings,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the shards of a SCAN folder into the empty `folder`.

    features: what the features are (bottom-up attention, synthetic, simulated); goes with them into every result
    progress: called with images done, images in all
    `DataError` names file and row of the first value that is not finite, of other widths, of ids in two splits.
    """
    splits = {split: scan.open_split(raw, split_names[split]) for split in SPLITS}
    scan.check_splits(splits)
    described: dict[str, Any] = {}
    done, total = 0, sum(len(split) for split in splits.values())
    for name, split in splits.items():
        images = caption_table.read(table, name)
        if [image.image_id for image in images] != split.image_ids:
            raise DataError.at(
                table, f"other images than {split.path}", "the table made from this folder", do="Run: dvc repro"
            )
        files = []
        index: list[dict[str, Any]] = []
        for number, start in enumerate(range(0, len(split), settings.samples_per_shard)):
            path = folder / f"{name}-{number:05d}.tar"
            rows = range(start, min(start + settings.samples_per_shard, len(split)))
            with open(path, "wb") as handle, webdataset.TarWriter(handle, encoder=False, mtime=0) as tar:
                for row in rows:
                    tar.write(_sample(split, images[row], row, settings.dtype))
                    done += 1
                    if progress:
                        progress(done, total)
            index += _index(path, number, split.image_ids)
            files.append(
                {"file": path.name, "samples": len(rows), "bytes": path.stat().st_size, "sha256": sha256(path)}
            )
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
            writer.write_table(pa.Table.from_pylist(index, INDEX_SCHEMA))
        described[name] = {"samples": len(split), "shards": files}
    width = splits["train"].features.shape[2]
    value = {"features": features, "dtype": settings.dtype, "width": width, "splits": described}
    write_json(folder / "shards.json", {**value, "digest": digest(value)})


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
    """The region features of one split, read at random from memory-mapped shards."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder = folder
        described = _read_description(folder)
        self.width: int = described["width"]
        self._dtype = np.dtype(described["dtype"])
        self._files: list[dict[str, Any]] = described["splits"][split]["shards"]
        index_path = folder / f"{split}.arrow"
        try:
            with pa.memory_map(str(index_path)) as source:
                index = pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError.at(
                index_path, f"cannot be read ({error})", "the shards' index", do="Run: dvc repro"
            ) from error
        self.image_ids: list[int] = index["image_id"].to_pylist()
        self.n_regions = index["n_regions"].to_numpy()
        self._shard = index["shard"].to_numpy()
        self._offset = index["offset"].to_numpy()
        self._check_sizes()
        self._maps = [np.memmap(folder / file["file"], np.uint8, "r") for file in self._files]

    def __len__(self) -> int:
        return len(self.image_ids)

    def gather(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features of the given images: float32 (n, max n_regions, width), zero-padded, and lengths (n,)."""
        lengths = self.n_regions[rows]
        out = np.zeros((len(rows), int(lengths.max(initial=0)), self.width), np.float32)
        for i, row in enumerate(rows):
            out[i, : lengths[i]] = self._view(row)
        return out, lengths

    def verify(self) -> None:
        """Read every shard once. `DataError` names one whose bytes are not those that were written."""
        for file in self._files:
            path = self.folder / file["file"]
            if sha256(path) != file["sha256"]:
                raise _damaged(path, f"its bytes have changed (sha256 is not {file['sha256'][:12]}…)")

    def _view(self, row: int) -> np.ndarray:
        start = self._offset[row]
        end = start + int(self.n_regions[row]) * self.width * self._dtype.itemsize
        view: np.ndarray = self._maps[self._shard[row]][start:end].view(self._dtype).reshape(-1, self.width)
        return view

    def _check_sizes(self) -> None:
        for file in self._files:
            path = self.folder / file["file"]
            size = path.stat().st_size if path.exists() else 0
            if size != file["bytes"]:
                raise _damaged(path, f"found {size:,} bytes" if size else "no such file, or empty")
        if len(self) != sum(file["samples"] for file in self._files):
            raise DataError.at(
                self.folder, "index and shards.json count other samples", "the same", do="Run: dvc repro"
            )


def samples(path: Path) -> Iterator[dict[str, Any]]:
    """Stream one shard through webdataset: dictionaries with `json`, `regions` (n_regions, width) and perhaps `boxes`."""
    for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False):
        decoded: dict[str, Any] = {"key": sample["__key__"], "json": json.loads(sample["json"])}
        for name in ("regions", "boxes"):
            if f"{name}.npy" in sample:
                decoded[name] = np.load(io.BytesIO(sample[f"{name}.npy"]), allow_pickle=False)
        yield decoded


def _sample(split: scan.ScanSplit, image: Image, row: int, dtype: str) -> dict[str, Any]:
    regions = split.image(row)
    stored = regions.astype(dtype)
    if not np.isfinite(stored).all():
        raise DataError.at(
            split.path,
            f"{np.abs(regions).max():g} does not fit {dtype}",
            "values within ±65504",
            row,
            "Set shards.dtype to float32.",
        )
    value = {
        "image_id": image.image_id,
        "file_name": image.file_name,
        "caption_ids": image.caption_ids,
        "captions": image.captions,
    }
    text = json.dumps(value, ensure_ascii=False).encode()
    sample: dict[str, Any] = {"__key__": f"{row:07d}", "json": text, "regions.npy": _npy(stored)}
    if split.boxes is not None:
        sample["boxes.npy"] = _npy(np.asarray(split.boxes[split.rows[row]], np.float32))
    return sample


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _index(path: Path, number: int, image_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Where each sample's feature values lie, read back from the finished shard."""
    with tarfile.open(path) as tar, open(path, "rb") as handle:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if kind != "regions.npy":
                continue
            handle.seek(member.offset_data)
            np.lib.format.read_magic(handle)
            shape, _, _ = np.lib.format.read_array_header_1_0(handle)
            yield {
                "key": key,
                "image_id": image_ids[int(key)],
                "shard": number,
                "offset": handle.tell(),
                "n_regions": shape[0],
            }


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "shards.json"
    try:
        value: dict[str, Any] = read_json(path)
        return value
    except (FileNotFoundError, ValueError) as error:
        raise DataError.at(path, f"cannot be read ({error})", "finished shards", do="Run: dvc repro") from error


def _damaged(path: Path, found: str) -> DataError:
    return DataError.at(
        path, f"this shard is damaged: {found}", "it as written", do=f"Remove {path.parent} and run: dvc repro"
    )
