"""From SCAN's files, and Karpathy's where it is there, to the caption table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from itrcore.data import karpathy, scan
from itrcore.data.captions import SCHEMA
from itrcore.data.settings import SPLITS
from itrcore.errors import DataError


def build(folder: Path, split_names: Mapping[str, str]) -> pa.Table:
    """The caption table of a SCAN folder.

    split_names: our split (train, dev, test) → prefix of its files
    Caption ids are Karpathy's `sentids` where a `dataset_*.json` lies in the folder (counts and splits are checked
    against it), else a running number over train, dev and test.
    """
    names = scan.read_id_mapping(folder)
    described = _karpathy_by_file(folder)
    if described and names is None:
        raise DataError.at(folder / "id_mapping.json", "no such file", "file names, to match Karpathy's JSON")
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    number = 0
    for split in SPLITS:
        image_ids, captions = scan.read_captions(folder, split_names[split])
        for position, (image_id, group) in enumerate(zip(image_ids, captions, strict=True)):
            file_name = None
            if names is not None:
                if image_id not in names:
                    raise DataError.at(
                        folder / "id_mapping.json", f"no entry for image id {image_id} of {split}", "one for every id"
                    )
                file_name = names[image_id]
            caption_ids = list(range(number, number + len(group)))
            if described and file_name is not None:
                caption_ids = _match(folder, described, file_name, split, position, len(group))
            number += len(group)
            for caption_id, text in zip(caption_ids, group, strict=True):
                values = (image_id, file_name, split, position, caption_id, text)
                for name, value in zip(SCHEMA.names, values, strict=True):
                    columns[name].append(value)
    return pa.table(columns, SCHEMA)


def _karpathy_by_file(folder: Path) -> dict[str, karpathy.KarpathyImage]:
    files = sorted(folder.glob("dataset_*.json"))
    return {image.filename: image for path in files for image in karpathy.read(path)}


def _match(
    folder: Path, described: Mapping[str, karpathy.KarpathyImage], file_name: str, split: str, position: int, count: int
) -> list[int]:
    image = described.get(file_name)
    where = folder / f"{split} captions"
    if image is None:
        raise DataError.at(where, f"image {file_name} is not in Karpathy's JSON", "the images of its splits", position)
    if image.our_split != split or len(image.sentids) < count:
        raise DataError.at(
            where,
            f"image {file_name} with {count} captions",
            f"split {image.our_split} and at least as many captions as Karpathy's JSON gives it ({len(image.sentids)})",
            position,
        )
    return image.sentids[:count]
