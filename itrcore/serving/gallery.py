"""What a server searches: pictures that a run has encoded, their captions where they have some, and why a text found one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from itrcore import layout
from itrcore.data import captions, pictures
from itrcore.data.feeding.images import Images
from itrcore.data.feeding.pixels import PixelImages
from itrcore.data.feeding.prepared import feature_width, open_split
from itrcore.data.feeding.shown import ShownPictures
from itrcore.data.image_inputs import PixelInput
from itrcore.errors import DataError
from itrcore.evaluation import explanations
from itrcore.layers.encoded import Sets
from itrcore.methods.contract import Attends, EmbeddingMethod
from itrcore.progress import SILENT, Show
from itrcore.retriever.encoded_items import EncodedItems
from itrcore.retriever.given import GivenPictures
from itrcore.retriever.retriever import Match, Retriever
from itrcore.runs.examples import Explanation
from itrcore.runs.folder import SPLIT
from itrcore.serving.limits import SIDE

_KEPT = 512  # pictures as they are sent, of some 30 kB
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif")


@dataclass(frozen=True)
class Item:
    """A picture of a gallery. name: its file's, below the gallery's folder; None where the data set gives none"""

    name: str | None
    captions: tuple[str, ...] = ()


class Gallery:
    """Threads may share one object. Pictures are named by their numbers, from 0."""

    def __init__(
        self,
        title: str,
        retriever: Retriever,
        items: Sequence[Item],
        encoded: EncodedItems,
        picture: Callable[[int], bytes],
        images: Images | None = None,
        texts: EncodedItems | None = None,
    ) -> None:
        """title: what is searched, in a few words
        items, encoded: the pictures, in one order; picture: the file of one, or `DataError`
        images: where they are read from, for the boxes of their regions
        texts: all captions of `items`, encoded, in their order; what a picture can be searched among
        """
        self.title, self.retriever, self.items = title, retriever, items
        self._encoded, self._picture, self._texts = encoded, picture, texts
        self._captions = [(number, text) for number, item in enumerate(items) for text in item.captions]
        self._method = retriever.method
        # Whoever searches puts it into this mode and back into that of before, and threads must not meet in between.
        self._method.eval()
        embeds = retriever.takes_pictures and isinstance(self._method, EmbeddingMethod)
        self._vectors = _unit(encoded.vectors) if embeds else None
        self._images = images
        if images is not None and self._explanation("a", 0) is None:
            self._images = None
        self.thumbnail = lru_cache(_KEPT)(self._thumbnail)

    @property
    def explains(self) -> bool:
        """Whether `why` has an answer."""
        return self._images is not None

    @property
    def finds_captions(self) -> bool:
        """Whether a picture finds captions."""
        return self._texts is not None

    @property
    def finds_pictures(self) -> bool:
        """Whether a picture finds pictures: of methods of one vector per item."""
        return self._vectors is not None

    def search(self, text: str, k: int) -> list[Match]:
        """The `k` best pictures for a text, as `Retriever.search` finds them."""
        return self.retriever.search(text, self._encoded, k)

    def search_picture(self, picture: Image.Image, k: int) -> tuple[list[tuple[int, str, float]], list[Match]]:
        """For a picture: its `k` best captions, each with the number of the picture that it is of and its score; similar pictures.

        Similarity of pictures is the cosine of their vectors, which no training asked for: a guide, no figure.
        """
        asked = self.retriever.encode_images([picture])
        found, similar = list[tuple[int, str, float]](), list[Match]()
        if self._texts is not None:
            found = [(*self._captions[item], score) for item, score in self.retriever.search(asked, self._texts, k)[0]]
        if self._vectors is not None:
            scores = self._vectors @ _unit(asked.vectors)[0]
            similar = [Match(int(item), float(scores[item])) for item in np.argsort(-scores, kind="stable")[:k]]
        return found, similar

    def why(self, text: str, item: int) -> tuple[Explanation, tuple[int, int]] | None:
        """Which regions of a picture the words of a text look at, and the size of the picture, in pixels; None without words."""
        found = self._explanation(text, item)
        if found is None or not found.words:
            return None
        return found, self._opened(item).size

    def _explanation(self, text: str, item: int) -> Explanation | None:
        if not isinstance(self._method, Attends) or self._images is None:
            return None
        device = next(self._method.parameters()).device
        words = self.retriever.encode_texts(text).encoded.to(device)
        image = self._encoded[item].encoded.to(device)
        assert isinstance(image, Sets) and isinstance(words, Sets)
        with torch.inference_mode():
            return explanations.explain(
                self._method, image, words, self.retriever.tokeniser, text, self._images, item, None
            )

    def _thumbnail(self, item: int) -> bytes:
        """The picture, small, as a JPEG that is made here: nothing else of its file leaves. `DataError` where it has none."""
        small = self._opened(item)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=88)
        return out.getvalue()

    def _opened(self, item: int) -> Image.Image:
        return pictures.decode(self._picture(item), Path(f"picture {item}"))


def of_data(retriever: Retriever, data: str, show: Show = SILENT.show) -> Gallery:
    """The test split of a prepared data set, in the current project.

    `DataError` where it is not there, or its features are of another width than the run reads.
    """
    if not layout.captions(data).exists():
        raise DataError(
            f"no data set {data} is prepared here; expected the folder of its project, or --pictures FOLDER"
        )
    run, reads = retriever.record, retriever.method.input
    if not isinstance(reads, PixelInput) and feature_width(data) != run.width:
        raise DataError(
            f"{run.name} reads region features of {run.width:,} values, and {data} has others; expected a run on {data}, or "
            "the data set of this run"
        )
    split = open_split(data, SPLIT, retriever.tokeniser, reads)
    table = captions.read(layout.captions(data), SPLIT)
    shown = ShownPictures(data, SPLIT)
    items = [Item(image.file_name, tuple(image.captions)) for image in table]
    encoded = retriever.encode_stored(split.images, show=show)
    texts = None
    if retriever.takes_pictures:
        texts = retriever.encode_texts([text for item in items for text in item.captions], show=show)
    title = f"{data}, test split"
    return Gallery(title, retriever, items, encoded, lambda item: shown.bytes(item, table[item]), split.images, texts)


def of_folder(retriever: Retriever, folder: Path, show: Show = SILENT.show) -> Gallery:
    """All pictures in a folder and below it.

    `DataError` where there is none, or one cannot be read, or the run takes no pictures.
    """
    paths = pictures_in(folder)
    encoded = retriever.encode_images(paths, show=show)
    items = [Item(path.relative_to(folder).as_posix()) for path in paths]
    reads, images = retriever.method.input, None
    if isinstance(reads, PixelInput):
        images = PixelImages(GivenPictures(paths), reads)
    return Gallery(
        f"{folder.resolve().name}, a folder",
        retriever,
        items,
        encoded,
        lambda item: pictures.read_bytes(paths[item]),
        images,
    )


def pictures_in(folder: Path) -> list[Path]:
    """The picture files in a folder and below it, in the order of their names; links lead nowhere. `DataError` for none."""
    if not folder.is_dir():
        raise DataError.at(folder, "no such folder", "a folder of pictures")
    found = sorted(
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name.lower().endswith(_ENDINGS)
    )
    if not found:
        raise DataError.at(folder, "no picture in it", f"files that end in {', '.join(_ENDINGS)}")
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
