"""Tiny pictures for the tests, made in code."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from itrcore.data import captions
from itrcore.data.shards import image_writer, writing
from itrcore.settings.datasets import ImageShardSettings

SETTINGS = ImageShardSettings(samples_per_shard=3, max_megapixels=1.0)
NAMES = {
    "train": ["a.jpg", "b.JPG", "COCO_train2014_000000000009.jpg", "zebras/d.png", "e.webp", "f.jpg", "g.gif"],
    "dev": ["h.jpg"],
    "test": ["i.jpg", "j.png"],
}


def photo(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Blocks of random colours."""
    width, height = size
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def content(number: int, name: str) -> bytes:
    """The bytes of a picture whose kind the name's ending says."""
    kinds = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF"}
    return encoded(photo(number), kinds.get(Path(name).suffix, "JPEG"))


def write_table(path: Path, names: Mapping[str, Sequence[str | None]]) -> Path:
    """The caption table of images 100, 101, … with two captions each."""
    rows = []
    for split, in_split in names.items():
        for position, name in enumerate(in_split):
            image_id = 100 + len(rows) // 2
            rows += [(image_id, name, split, position, len(rows) + i, f"{name} – “{i}”") for i in range(2)]
    captions.write(pa.table([list(column) for column in zip(*rows, strict=True)], schema=captions.SCHEMA), path)
    return path


class PictureFolder:
    """A caption table and a folder of its pictures."""

    def __init__(self, path: Path, names: Mapping[str, Sequence[str | None]] = NAMES) -> None:
        self.table = write_table(path / "captions.parquet", names)
        self.folder, self.work = path / "photos", path / "state" / "images"
        self.files: dict[str, list[bytes]] = {}
        for split, in_split in names.items():
            named = [name for name in in_split if name is not None]
            self.files[split] = [content(len(name) + ord(name[0]), name) for name in named]
            for name, data in zip(named, self.files[split], strict=True):
                self.put(name, data)

    def put(self, name: str, data: bytes) -> None:
        path = self.folder / ("train2014" if name.startswith("COCO_train") else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def finished(self, processes: int = 1, settings: ImageShardSettings = SETTINGS) -> Path:
        return image_writer.write(self.table, self.folder, settings, self.work, processes=processes)

    def write(self, out: Path, processes: int = 1, settings: ImageShardSettings = SETTINGS) -> Path:
        writing.move(self.finished(processes, settings), out)
        return out
