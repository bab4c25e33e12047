"""The pictures that an index is made of: a folder of picture files, or a split of a prepared data set."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itrcore import layout
from itrcore.data import captions, pictures
from itrcore.data.feeding.shown import ShownPictures
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.shards.files import read_description
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError
from itrcore.files import digest, inside, sha256

_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif")


class Item(NamedTuple):
    """A picture of a gallery.

    name: its path in the folder, or its id in the data set
    size, mtime_ns: of its file, by which an unchanged one is known without reading it; 0 of a data set's
    sha256: of what is encoded; by it a vector that is there already is known
    """

    name: str
    size: int
    mtime_ns: int
    sha256: str


class Gallery(ABC):
    """Pictures in an order, each with a name."""

    @abstractmethod
    def items(self, known: Mapping[str, Item]) -> list[Item]:
        """What is there now, in order. known: name → the item as it was, whose digest is kept where its file is unchanged"""

    @abstractmethod
    def given(self, names: Sequence[str], reads: RegionInput | PixelInput) -> Sequence[Any]:
        """The pictures of these names as `Retriever.encode_images` takes them."""

    @abstractmethod
    def picture(self, name: str) -> bytes:
        """A picture's file. `DataError` where there is none."""

    def captions(self, name: str) -> list[str]:
        """The captions of a picture; of a folder none are known."""
        return []


class Folder(Gallery):
    """All pictures in a folder and below it, by their endings; hidden ones are left out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not folder.is_dir():
            raise DataError.at(folder, "no such folder", "the folder of the pictures")

    def items(self, known: Mapping[str, Item]) -> list[Item]:
        """In the order of their paths. `DataError` where there is none."""
        found = []
        for top, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                path = Path(top, file)
                if path.suffix.lower() in _ENDINGS and not file.startswith("."):
                    found.append(self._item(path, known))
        if not found:
            raise DataError.at(self._folder, "no pictures in it", f"files that end in {', '.join(_ENDINGS)}")
        return sorted(found)

    def _item(self, path: Path, known: Mapping[str, Item]) -> Item:
        name = path.relative_to(self._folder).as_posix()
        if not inside(name):
            raise DataError.at(
                path.parent, f"a file whose name is no text ({name!r})", "names in UTF-8", do="Rename it."
            )
        state, before = path.stat(), known.get(name)
        if before is not None and (before.size, before.mtime_ns) == (state.st_size, state.st_mtime_ns):
            return before
        return Item(name, state.st_size, state.st_mtime_ns, sha256(path))

    def given(self, names: Sequence[str], reads: RegionInput | PixelInput) -> list[Path]:
        """Their paths."""
        return [self._folder / name for name in names]

    def picture(self, name: str) -> bytes:
        """Its bytes."""
        return pictures.read_bytes(pictures.find(self._folder, name))


class Split(Gallery):
    """The images of a split of a data set that is prepared in the current folder, in the split's order."""

    def __init__(self, data: str, split: str) -> None:
        self._data, self._split = data, split
        self._table = captions.read(layout.captions(data), split)
        self._row = {str(image.image_id): row for row, image in enumerate(self._table)}

    def items(self, known: Mapping[str, Item]) -> list[Item]:
        """All change when the data set's shards do."""
        made = [
            read_description(folder)["digest"]
            for folder in (layout.image_shards(self._data), layout.region_shards(self._data))
            if folder.exists()
        ]
        return [Item(name, 0, 0, digest([self._split, name, made])) for name in self._row]

    def given(self, names: Sequence[str], reads: RegionInput | PixelInput) -> list[Any]:
        """Pictures, or the features of their regions."""
        rows = [self._rows(name) for name in names]
        if isinstance(reads, PixelInput):
            return [self._images.image(row) for row in rows]
        features, lengths = self._features.gather(rows)
        return [image[:length] for image, length in zip(features, lengths, strict=True)]

    def picture(self, name: str) -> bytes:
        """From the source's folder, or from the shards of pictures."""
        row = self._rows(name)
        return self._shown.bytes(row, self._table[row])

    def captions(self, name: str) -> list[str]:
        """As the data set has them."""
        return self._table[self._rows(name)].captions

    @property
    def texts(self) -> list[str]:
        """All captions of the split."""
        return [caption for image in self._table for caption in image.captions]

    def _rows(self, name: str) -> int:
        if name not in self._row:
            raise DataError(f"{self._data}: no image {name} in {self._split} any more; run itr index again")
        return self._row[name]

    @cached_property
    def _shown(self) -> ShownPictures:
        return ShownPictures(self._data, self._split)

    @cached_property
    def _images(self) -> ImageStore:
        return ImageStore(self._shards(layout.image_shards(self._data)), self._split)

    @cached_property
    def _features(self) -> FeatureStore:
        return FeatureStore(self._shards(layout.region_shards(self._data)), self._split)

    def _shards(self, folder: Path) -> Path:
        if not folder.exists():
            raise DataError.at(
                folder, "no such folder", f"{folder.name} of {self._data} in shards", do="Run: dvc repro"
            )
        return folder


def some_of(n: int, most: int) -> np.ndarray:
    """Up to `most` of n numbers, chosen at random with a seed, in order."""
    return np.sort(np.random.default_rng(0).choice(n, min(n, most), replace=False))
