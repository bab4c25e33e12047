"""Marks retrieved answers that COCO does not have as right and other annotations have; no figure changes with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from itrcore.data.captions import Image
from itrcore.protocols.annotations import Annotation

LEGEND = (
    "An answer that is wrong by COCO may be right by other annotations of the same images and captions: it is marked so, and "
    "counts as wrong in every figure but those of their own protocols. Captions of the same words are marked alike."
)


class Marks:
    """What annotations say of an answer, in words; nothing without annotations."""

    def __init__(self, images: Sequence[Image] = (), annotations: Sequence[Annotation] = ()) -> None:
        """images: of the split that the annotations' places are of"""
        self._annotations = annotations
        self._rows_of: dict[int, list[int]] = {}
        self._columns_of: dict[str, list[int]] = {}  # by text: what was retrieved is recorded without captions' ids
        columns = count()
        for row, image in enumerate(images if annotations else ()):
            self._rows_of[image.image_id] = [row]
            for caption in image.captions:
                self._columns_of.setdefault(caption, []).append(next(columns))

    def __bool__(self) -> bool:
        """Whether anything may be marked."""
        return bool(self._annotations)

    def of_caption(self, image_id: int, caption: str) -> str:
        """What is said of a caption that was retrieved for an image; empty where nothing is."""
        return self._said("i2t", self._rows_of.get(image_id, []), self._columns_of.get(caption, []))

    def of_image(self, caption: str, image_id: int) -> str:
        """What is said of an image that was retrieved for a caption; empty where nothing is."""
        return self._said("t2i", self._columns_of.get(caption, []), self._rows_of.get(image_id, []))

    def _said(self, side: str, queries: Sequence[int], items: Sequence[int]) -> str:
        pairs = [(query, item) for query in queries for item in items]
        said = (annotation.says(side, query, item) for annotation in self._annotations for query, item in pairs)
        return ", ".join(dict.fromkeys(words for words in said if words))
