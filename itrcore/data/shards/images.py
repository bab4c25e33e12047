"""WebDataset shards of pictures with an Arrow index, for methods that need pixels: the files' bytes, never encoded again.

A shard is a plain tar, so webdataset streams it; the index gives each picture's place in it, so that training reads at
random.

    train-00000.tar   {key}.json (ids, file name, captions) and {key}.jpg, .png, .webp or .gif
    train.arrow       index: key, image_id, shard, place and size of the file, format, size in pixels, mode
    shards.json       counts, sizes and SHA-256 of every shard and index; kinds that reading converts; its own digest
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from PIL.Image import Image

from itrcore.data import pictures
from itrcore.data.shards.checks import Kind, numbers
from itrcore.data.shards.files import Store, read_description

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("image_id", pa.int64()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),  # bytes from the start of the shard to the picture's first
        ("bytes", pa.int64()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("mode", pa.string()),  # Pillow's name: RGB, L, CMYK, …
    ]
)

KIND = Kind(INDEX_SCHEMA, ("converted",))

_WORDS = {"L": "greyscale", "1": "black and white", "P": "palette", "RGBA": "RGB with transparency"}


@dataclass(frozen=True)
class ImageShardInfo:
    """What `shards.json` says about a data set's pictures.

    converted: mode as Pillow names it → how many pictures, names of the first few
    """

    pictures: int
    converted: dict[str, tuple[int, list[str]]]
    digest: str

    @classmethod
    def read(cls, folder: Path) -> ImageShardInfo:
        """Read it; `DataError` where it is missing or damaged."""
        value = read_description(folder, KIND)
        converted = {mode: (kind["pictures"], kind["first"]) for mode, kind in value["converted"].items()}
        return cls(sum(split["samples"] for split in value["splits"].values()), converted, value["digest"])

    def lines(self) -> list[str]:
        """For people: how many pictures, and each kind that is converted, with the first few names."""
        lines = [f"{self.pictures:,} pictures"]
        for mode, (count, first) in self.converted.items():
            names = ", ".join(first) + (", …" if count > len(first) else "")
            lines.append(f"of these {_WORDS.get(mode, mode)}, converted to RGB when read: {count:,} ({names})")
        return lines


class ImageStore(Store):
    """The pictures of one split, read at random from the shards."""

    kind = KIND

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__(folder, split)
        self._key: list[str] = self._index["key"].to_pylist()
        self._size = numbers(self._index, "bytes")

    def bytes(self, row: int) -> bytes:
        """The file of the given image. `DataError` names a shard that was cut short after it was opened."""
        return self._read(int(self._shard[row]), int(self._offset[row]), int(self._size[row]))

    def image(self, row: int) -> Image:
        """The given image as 8-bit RGB; `itrcore/data/pictures.py` says how others become that."""
        return pictures.decode(self.bytes(row), self._files.paths[int(self._shard[row])] / self._key[row])
