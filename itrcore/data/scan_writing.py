"""Writing SCAN's data layout, which `scan.py` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from itrcore.files import write_json


def write_id_mapping(folder: Path, names: Mapping[int, str]) -> None:
    """Write `id_mapping.json`."""
    write_json(folder / "id_mapping.json", {str(key): name for key, name in names.items()})


def write_split(
    folder: Path,
    split: str,
    shape: tuple[int, int, int],
    rows: Iterable[np.ndarray],
    image_ids: Sequence[int],
    captions: Sequence[Sequence[str]],
    ids_per: Literal["image", "caption"],
    boxes: np.ndarray | None = None,
) -> None:
    """Write one split in SCAN's layout, one feature row per image.

    shape: (n_images, n_regions, width); rows: that many arrays (n_regions, width), written as float32 one by one
    ids_per: SCAN's Flickr30K has one id per image for train and one per caption for dev and test
    """
    with open(folder / f"{split}_ims.npy", "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        count = 0
        for row in rows:
            if row.shape != shape[1:]:
                raise ValueError(f"row {count} of {split} has shape {row.shape}, not {shape[1:]}")
            handle.write(np.ascontiguousarray(row, "<f4").data)
            count += 1
    if not count == shape[0] == len(image_ids) == len(captions):
        raise ValueError(
            f"{split}: {count} rows, {len(image_ids)} ids and {len(captions)} caption lists for {shape[0]} images"
        )
    if boxes is not None:
        np.save(folder / f"{split}_boxes.npy", np.ascontiguousarray(boxes, "<f4"), allow_pickle=False)
    write_captions(folder, split, image_ids, captions, ids_per)


def write_captions(
    folder: Path,
    split: str,
    image_ids: Sequence[int],
    captions: Sequence[Sequence[str]],
    ids_per: Literal["image", "caption"],
) -> None:
    """Write `{split}_caps.txt` and `{split}_ids.txt`; see `write_split`."""
    lines = [caption for group in captions for caption in group]
    ids = [
        i
        for i, group in zip(image_ids, captions, strict=True)
        for _ in range(len(group) if ids_per == "caption" else 1)
    ]
    (folder / f"{split}_caps.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    (folder / f"{split}_ids.txt").write_text("".join(f"{i}\n" for i in ids), "utf-8", newline="\n")
