"""The pictures of a split, for people: as the source has them, or as image shards hold them, whatever a method reads of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from itrcore import layout
from itrcore.data import pictures
from itrcore.data.captions import Image
from itrcore.data.shards.images import ImageStore
from itrcore.data.source import Source
from itrcore.errors import DataError


class ShownPictures:
    """Of a split of a data set. Threads may share one object."""

    def __init__(self, data: str, split: str) -> None:
        self._data, self._split = data, split
        self._folder = Source.read(layout.raw(data)).pictures

    def bytes(self, row: int, image: Image) -> bytes:
        """The file of an image: from the source's folder, as the report has it, or from the image shards.

        row: the image's, in the split. `DataError` where neither has it.
        """
        if self._folder is not None and image.file_name is not None:
            return pictures.read_bytes(pictures.find(Path(self._folder), image.file_name))
        if self._store is None:
            raise DataError(
                f"{self._data}: no picture of image {image.image_id}; expected the pictures' folder in "
                f"datasets.{self._data}.source.pictures, and file names in id_mapping.json"
            )
        return self._store.bytes(row)

    @cached_property
    def _store(self) -> ImageStore | None:
        shards = layout.image_shards(self._data)
        return ImageStore(shards, self._split) if shards.exists() else None
