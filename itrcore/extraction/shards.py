"""Features of all pictures of a data set, as region shards: from picture shards, a plain map that goes on after a kill."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itrcore.data import captions as caption_table
from itrcore.data.captions import Image
from itrcore.data.shards import writing
from itrcore.data.shards.files import read_description
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.region_writer import convert
from itrcore.data.shards.regions import INDEX_SCHEMA
from itrcore.data.shards.writing import Sample
from itrcore.errors import DataError
from itrcore.extraction.extractor import Extractor
from itrcore.extraction.load import load, load_described
from itrcore.files import digest, sha256
from itrcore.progress import Count
from itrcore.settings.datasets import SPLITS
from itrcore.settings.features import FeatureSettings

# Pictures that a model is given at once, from each shard's first on: the result does not depend on which process does it.
_TOGETHER = 16


def write(
    images: Path,
    table: Path,
    label: str,
    settings: FeatureSettings,
    work: Path,
    device: torch.device,
    verified: Path | None = None,
    progress: Count | None = None,
    processes: int | None = None,
) -> Path:
    """Compute and write the features of all pictures; returns the folder of their shards, for `writing.move`.

    images: the picture shards; table: the caption table; label: what results say of the features
    device: where each process computes, with one thread on a CPU
    verified: the folder that records which picture shards were verified before
    work, progress, processes: as in `writing.write`; on a CPU the bytes are the same for any number of processes
    `DataError` where the extractor cannot be had, a shard of pictures is damaged, a picture cannot be decoded, or a value does
    not fit the type; it names the shard or picture.
    """
    extractor = load(settings.extractor, device)
    splits = {split: caption_table.read(table, split) for split in SPLITS}
    stores = {split: ImageStore(images, split) for split in SPLITS}
    for split, store in stores.items():
        store.verify(verified)
        if store.image_ids != [image.image_id for image in splits[split]]:
            raise DataError.at(images, f"other images of {split} than {table}", "the same", do="Run: dvc repro")
    description = extractor.description
    return writing.write(
        work,
        {
            "extractor": description,
            "dtype": settings.dtype,
            "label": label,
            "table": sha256(table),
            "pictures": digest(read_description(images)["splits"]),
        },
        {split: len(store) for split, store in stores.items()},
        settings.samples_per_shard,
        _Features(images, splits, json.dumps(description), settings.dtype, str(device)),
        INDEX_SCHEMA,
        lambda _: {"features": label, "dtype": settings.dtype, "width": extractor.width, "extractor": description},
        progress,
        processes,
    )


@dataclass(frozen=True)
class _Features:
    """The features of all pictures as `writing.Samples`. described: an extractor's description as JSON"""

    images: Path
    splits: Mapping[str, Sequence[Image]]
    described: str
    dtype: str
    device: str

    def shard(self, split: str, rows: range) -> _Shard:
        captions = self.splits[split][rows.start : rows.stop]
        return _Shard(self.images, split, rows, captions, self.described, self.dtype, self.device)


@dataclass(frozen=True)
class _Shard:
    """The samples of one shard; their features are computed where it is iterated over."""

    images: Path
    split: str
    rows: range
    captions: Sequence[Image]
    described: str
    dtype: str
    device: str

    def __iter__(self) -> Iterator[Sample]:
        extractor, store = _extractor(self.described, self.device), _store(self.images, self.split)
        for first in range(0, len(self.rows), _TOGETHER):
            rows = self.rows[first : first + _TOGETHER]
            pictures = [store.image(row) for row in rows]
            with _one_thread():
                extracted = extractor(pictures)
            captions = self.captions[first : first + _TOGETHER]
            samples = zip(rows, captions, extracted.features, extracted.boxes, strict=True)
            for row, image, regions, boxes in samples:
                stored = convert(regions, self.dtype)
                if stored is None:
                    raise DataError.at(
                        self.images,
                        f"the features of {image.file_name} reach {np.abs(regions).max():g}, which does not fit {self.dtype}",
                        f"values within ±{np.finfo(self.dtype).max:g}",
                        row,
                        "Set features.dtype to float32." if self.dtype == "float16" else "Is this the right model?",
                    )
                members = {"json": [image.as_json()], "boxes.npy": _npy(boxes), "regions.npy": _npy(stored)}
                index = {"image_id": image.image_id, "n_regions": len(regions)}
                yield Sample(f"{row:07d}", members, "regions.npy", index)


@lru_cache(maxsize=1)
def _extractor(described: str, device: str) -> Extractor:
    return load_described(json.loads(described), torch.device(device))


@lru_cache(maxsize=len(SPLITS))
def _store(images: Path, split: str) -> ImageStore:
    return ImageStore(images, split)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The processes share the cores already, and another number of threads changes the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _npy(array: np.ndarray) -> list[Any]:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return [header.getvalue(), array]
