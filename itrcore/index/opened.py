"""An index that is open: texts and pictures search among its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from itrcore.arrays import open_array
from itrcore.errors import DataError
from itrcore.index import record as records
from itrcore.index.gallery import Item
from itrcore.index.neighbours import Approximate, exact
from itrcore.index.record import FAISS, ITEMS, VECTORS, IndexRecord
from itrcore.retriever.load import load
from itrcore.retriever.retriever import Retriever


class Found(NamedTuple):
    """A picture that a search has found: its number in the index, its path in the folder or id in the data set, its similarity."""

    item: int
    name: str
    score: float


class PictureIndex:
    """An index and the run that made its vectors. `open_index` makes one. Threads may share it."""

    def __init__(
        self, folder: Path, record: IndexRecord, retriever: Retriever, items: list[Item], vectors: np.ndarray
    ) -> None:
        self.folder, self.record, self.retriever = folder, record, retriever
        self.vectors = vectors
        self._items, self.gallery = items, record.gallery()
        self._approximate = None if record.effort is None else Approximate.read(folder / FAISS, vectors, record.effort)

    def __len__(self) -> int:
        return len(self._items)

    def search(self, query: str | Path | Image, k: int = 10, compare_all: bool = False) -> list[Found]:
        """The k most similar pictures, best first, with the run's own similarities.

        query: a text; or a picture, as a path or a PIL picture: a picture's similarity with itself is 1 then
        compare_all: search exactly, whatever the index's kind is
        """
        if k < 1:
            raise DataError(f"k is {k}; expected at least 1")
        run = self.retriever
        asked = run.encode_texts(query) if isinstance(query, str) else run.encode_images(query)
        vectors = asked.vectors
        if not isinstance(query, str):
            vectors = vectors / np.square(vectors).sum(axis=1, keepdims=True)
        [scores], [items] = self.nearest(vectors, k, compare_all)
        return [
            Found(item, self.name(item), score)
            for item, score in zip(items.tolist(), scores.tolist(), strict=True)
            if item >= 0
        ]

    def nearest(self, queries: np.ndarray, k: int, compare_all: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Scores and numbers of the k best items for each vector, (m, k) both. queries: (m, d) float32"""
        if self._approximate is None or compare_all:
            return exact(self.vectors, queries, k)
        return self._approximate.search(queries, k)

    def name(self, item: int) -> str:
        """A picture's path in the folder, or its id in the data set."""
        return self._items[item].name

    def picture(self, item: int) -> bytes:
        """The bytes of a picture's file. `DataError` where it is not there any more."""
        return self.gallery.picture(self.name(item))

    def captions(self, item: int) -> list[str]:
        """Its captions, where the index is of a data set; else none."""
        return self.gallery.captions(self.name(item))


def open_index(folder: Path, device: str = "auto", run: Retriever | None = None) -> PictureIndex:
    """An index that `itr index` wrote, with its run.

    device: as of `itrcore.load`; run: in place of the run where the index was built, if that has moved

    `DataError` where the index is damaged, or the run has other weights than those that made its vectors.
    """
    record = records.read(folder)
    records.check(folder, record)
    items, vectors = records.read_items(folder / ITEMS), open_array(folder / VECTORS)
    if vectors.shape != (record.n, record.dim) or len(items) != record.n or vectors.dtype != np.float32:
        raise DataError.at(folder, "its files do not belong together", "an index", do="Run itr index again.")
    retriever = run or load(record.where, device)
    if retriever.weights != record.weights:
        raise DataError.at(
            folder,
            f"other weights of {record.run} encoded its pictures than those that the run has now",
            "the same weights",
            do="Run itr index again.",
        )
    return PictureIndex(folder, record, retriever, items, vectors)
