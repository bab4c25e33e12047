"""Writing the region shards of `itrcore/data/shards/regions.py` from a SCAN folder, checking every feature value on the way."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itrcore.data import captions as caption_table
from itrcore.data import scan
from itrcore.data.captions import Image
from itrcore.data.shards import writing
from itrcore.data.shards.checks import numbers
from itrcore.data.shards.regions import INDEX_SCHEMA
from itrcore.data.shards.writing import Sample
from itrcore.errors import DataError
from itrcore.files import sha256
from itrcore.progress import Count
from itrcore.settings.datasets import SPLITS, RegionShardSettings


def write(
    raw: Path,
    split_names: Mapping[str, str],
    table: Path,
    features: str,
    settings: RegionShardSettings,
    work: Path,
    progress: Count | None = None,
    processes: int | None = None,
) -> Path:
    """Write the shards of a SCAN folder; returns their folder, for `writing.move`.

    features: what the features are (bottom-up attention, synthetic, simulated); goes with them into every result
    work, progress, processes: as in `writing.write`
    `DataError` where a value is not finite or too large for the type (with its file and row), the splits' features differ
    in width, an image is in two splits, or the table is of other images.
    """
    splits = {split: scan.open_split(raw, split_names[split]) for split in SPLITS}
    scan.check_splits(splits)
    scan.check_ids(raw, split_names, {name: split.image_ids for name, split in splits.items()})
    width = int(splits["train"].features.shape[2])
    return writing.write(
        work,
        {"dtype": settings.dtype, "table": sha256(table), "sources": _sources(raw, split_names)},
        {name: len(split) for name, split in splits.items()},
        settings.samples_per_shard,
        _Regions(splits, _Captions.read(table, splits), settings.dtype),
        INDEX_SCHEMA,
        lambda _: {"features": features, "dtype": settings.dtype, "width": width},
        progress,
        processes,
    )


def _sources(raw: Path, split_names: Mapping[str, str]) -> list[list[Any]]:
    # By size and time: reading tens of GB for a digest would take as long as writing them.
    paths = [raw / f"{split_names[split]}_{part}.npy" for split in SPLITS for part in ("ims", "counts", "boxes")]
    facts = [(path.absolute(), path.stat()) for path in paths if path.exists()]
    return [[str(path), fact.st_size, fact.st_mtime_ns] for path, fact in facts]


@dataclass(frozen=True)
class _Captions:
    """One split of the caption table. Kept as a table: a million Python strings are hundreds of MB.

    starts: (n_images + 1,) the first row of each image, and the number of rows
    """

    table: pa.Table
    starts: np.ndarray

    @classmethod
    def read(cls, path: Path, splits: Mapping[str, scan.ScanSplit]) -> dict[str, _Captions]:
        table = caption_table.read_table(path)
        return {name: cls._of(caption_table.rows_of(table, name), path, split) for name, split in splits.items()}

    @classmethod
    def _of(cls, table: pa.Table, path: Path, split: scan.ScanSplit) -> _Captions:
        starts = np.flatnonzero(np.diff(numbers(table, "position"), prepend=-1, append=-1))
        if numbers(table, "image_id")[starts[:-1]].tolist() != split.image_ids:
            raise DataError.at(
                path, f"other images than {split.path}", "the table made from this folder", do="Run: dvc repro"
            )
        return cls(table, starts)

    def images(self, name: str, rows: range) -> list[Image]:
        first, end = int(self.starts[rows.start]), int(self.starts[rows.stop])
        return caption_table.images_of(self.table.slice(first, end - first), name)


@dataclass(frozen=True)
class _Regions:
    """A SCAN folder as `writing.Samples`."""

    splits: Mapping[str, scan.ScanSplit]
    captions: Mapping[str, _Captions]
    dtype: str

    def shard(self, split: str, rows: range) -> _Shard:
        source = self.splits[split]
        return _Shard(
            source.features_of(rows),
            rows,
            self.captions[split].images(split, rows),
            [source.boxes_of(row) for row in rows],
            self.dtype,
        )


@dataclass(frozen=True)
class _Shard:
    """The samples of one shard; their features are read where it is iterated over."""

    features: scan.FeatureRows
    rows: range
    images: Sequence[Image]
    boxes: Sequence[np.ndarray | None]
    dtype: str

    def __iter__(self) -> Iterator[Sample]:
        samples = zip(self.rows, self.features, self.features.rows, self.images, self.boxes, strict=True)
        for row, regions, source_row, image, boxes in samples:
            stored = convert(regions, self.dtype)
            if stored is None:
                raise DataError.at(
                    self.features.path,
                    f"{np.abs(regions).max():g} does not fit {self.dtype}",
                    f"values within ±{np.finfo(self.dtype).max:g}",
                    source_row,
                    "Set shards.regions.dtype to float32." if self.dtype == "float16" else "Are these region features?",
                )
            members: dict[str, list[Any]] = {"json": [image.as_json()], "regions.npy": _npy(stored)}
            if boxes is not None:
                members["boxes.npy"] = _npy(boxes)
            index = {"image_id": image.image_id, "n_regions": len(regions)}
            yield Sample(f"{row:07d}", members, "regions.npy", index)


def convert(values: np.ndarray, dtype: str) -> np.ndarray | None:
    """A C-ordered copy in another floating-point type, rounded as numpy does; None where one is not finite or too large."""
    if values.dtype == np.float32 and dtype == "float16":
        return _float16(np.ascontiguousarray(values))
    with np.errstate(over="ignore"):
        converted = values.astype(dtype, order="C")
    return converted if np.isfinite(converted).all() else None


def _float16(values: np.ndarray) -> np.ndarray | None:
    """What numpy does value by value, in whole passes: five times as fast.

    torch is faster still, but its import takes longer than this for all of Flickr30K, and 140 MB in each process.
    """
    bits = values.view(np.uint32)
    signed = bits.max(initial=0) >= 1 << 31  # region features are not, as a rule
    magnitude = bits & 0x7FFFFFFF if signed else bits
    if magnitude.max(initial=0) >= 0x477FF000:  # would be rounded to 65,536 or above, or is not finite
        return None
    # float16's subnormal numbers: the processor rounds the sum with 0.5 to their steps of 2⁻²⁴.
    subnormal = (magnitude.view(np.float32) + np.float32(0.5)).view(np.uint32)
    subnormal -= 0x3F000000
    # Its normal ones, from 2⁻¹⁴ on: 13 bits are cut off, half to even; 112 is the difference of the exponents' offsets.
    normal = np.maximum(magnitude, 0x38800000)
    odd = normal >> 13
    odd &= 1
    normal += odd
    normal += (0xFFF - (112 << 23)) % 2**32
    normal >>= 13
    stored = np.minimum(normal, subnormal, out=normal).astype(np.uint16)  # each is the larger where it does not apply
    if signed:
        stored |= (bits >> 16).astype(np.uint16) & 0x8000
    result: np.ndarray = stored.view(np.float16)
    return result


def _npy(array: np.ndarray) -> list[Any]:
    return [_npy_header(array.dtype.str, array.shape), np.ascontiguousarray(array)]


@functools.lru_cache
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()
