"""Writing the shards of `itrcore/data/shards.py` from a SCAN folder, checking every feature value on the way."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import webdataset

from itrcore.data import captions as caption_table
from itrcore.data import scan
from itrcore.data.captions import Image
from itrcore.data.settings import SPLITS, ShardSettings
from itrcore.data.shards import INDEX_SCHEMA
from itrcore.errors import DataError
from itrcore.files import digest, sha256, write_json


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
        index_path = folder / f"{name}.arrow"
        with pa.OSFile(str(index_path), "wb") as sink, pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
            writer.write_table(pa.Table.from_pylist(index, INDEX_SCHEMA))
        described[name] = {"samples": len(split), "index_sha256": sha256(index_path), "shards": files}
    width = splits["train"].features.shape[2]
    value = {"features": features, "dtype": settings.dtype, "width": width, "splits": described}
    write_json(folder / "shards.json", {**value, "digest": digest(value)})


def _sample(split: scan.ScanSplit, image: Image, row: int, dtype: str) -> dict[str, Any]:
    regions = split.image(row)
    with np.errstate(over="ignore"):  # checked below, with a message that says where
        stored = regions.astype(dtype)
    if not np.isfinite(stored).all():
        raise DataError.at(
            split.path,
            f"{np.abs(regions).max():g} does not fit {dtype}",
            f"values within ±{np.finfo(dtype).max:g}",
            int(split.rows[row]),
            "Set shards.dtype to float32." if dtype == "float16" else "Are these region features?",
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
