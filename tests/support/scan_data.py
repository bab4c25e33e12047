"""Tiny data sets in SCAN's layout for the tests, made in code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from itrcore.data import captions, karpathy, scan, scan_writing
from itrcore.data.shards import region_writer, writing
from itrcore.data.sources import caption_table
from itrcore.data.sources.locate import locate
from itrcore.settings.datasets import SPLITS, RegionShardSettings

OWN_NAMES = {split: split for split in SPLITS}
SIZES = {"train": 7, "dev": 3, "test": 4}
REGIONS, WIDTH = 3, 4


@dataclass
class ScanFolder:
    """What was written: per split the ids, features (n, 3, 4) and caption lists."""

    path: Path
    ids: dict[str, list[int]] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    captions: dict[str, list[list[str]]] = field(default_factory=dict)


def write_scan_folder(
    path: Path, sizes: Mapping[str, int] = SIZES, per_image: int = 2, shape: tuple[int, int] = (REGIONS, WIDTH)
) -> ScanFolder:
    """One row and one id per image in train, one id per caption elsewhere; ids are 100, 101, … over all splits."""
    path.mkdir(parents=True)
    scan_folder = ScanFolder(path)
    rng = np.random.default_rng(5)
    number = 100
    for split, n in sizes.items():
        scan_folder.ids[split] = list(range(number, number + n))
        scan_folder.features[split] = rng.normal(size=(n, *shape)).astype(np.float32)
        scan_folder.captions[split] = [
            [f"the {split} picture {i} says {j}" for j in range(per_image)] for i in scan_folder.ids[split]
        ]
        ids_per: Literal["image", "caption"] = "image" if split == "train" else "caption"
        scan_writing.write_split(
            path, split, (n, *shape), scan_folder.features[split], scan_folder.ids[split], scan_folder.captions[split], ids_per
        )  # fmt: skip
        number += n
    return scan_folder


def image(split: scan.ScanSplit, index: int) -> np.ndarray:
    """The features of one image, read and checked."""
    [regions] = split.features_of(range(index, index + 1))
    return regions


def table_of(folder: Path) -> pa.Table:
    """The caption table of a folder in SCAN's layout, with whatever lies beside."""
    located = locate(folder, "train")
    described = karpathy.read(located.karpathy) if located.karpathy else []
    return caption_table.from_scan(located.folder, OWN_NAMES, located.id_mapping, described)


def write_table(folder: ScanFolder, path: Path) -> Path:
    """The caption table of the folder."""
    captions.write(table_of(folder.path), path)
    return path


def write_shards(folder: ScanFolder, out: Path, dtype: str = "float32", per_shard: int = 3, processes: int = 1) -> Path:
    """Shards of the folder in `out`/shards, the caption table beside them."""
    table = write_table(folder, out / "captions.parquet")
    settings = RegionShardSettings.model_validate({"dtype": dtype, "samples_per_shard": per_shard})
    finished = region_writer.write(
        folder.path, OWN_NAMES, table, "synthetic", settings, out / "work", processes=processes
    )  # fmt: skip
    writing.move(finished, out / "shards")
    return out / "shards"


# A small stand-in for nltk's English sentence data: no abbreviations but these, no collocations.
PUNKT_FILES = {
    "abbrev_types.txt": b"dr\nmr\n",
    "collocations.tab": b"",
    "ortho_context.tab": b"",
    "sent_starters.txt": b"",
}


def write_punkt_folder(folder: Path, files: Mapping[str, bytes] = PUNKT_FILES) -> Path:
    """A folder of nltk data as a user has it."""
    inside = folder / "tokenizers" / "punkt_tab" / "english"
    inside.mkdir(parents=True)
    for name, content in files.items():
        (inside / name).write_bytes(content)
    return folder
