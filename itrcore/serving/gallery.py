"""What a server searches: pictures that a run has encoded, their captions where they have some, and why a text found one."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
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
from itrcore.index.gallery import Folder
from itrcore.index.opened import PictureIndex
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


@dataclass(frozen=True)
class Item:
    """A picture of a gallery. name: its file's, below the gallery's folder, or its id; None where it has neither"""

    name: str | None
    captions: tuple[str, ...] = ()


class Gallery(ABC):
    """Pictures that texts and pictures search among. They are named by their numbers, from 0. Threads may share one object.

    title: what is searched, in a few words; captions: how many there are
    explains: whether `why` has an answer
    finds_captions, finds_pictures: what a picture finds
    """

    explains = False
    finds_captions = False

    def __init__(self, title: str, retriever: Retriever, captions: int) -> None:
        self.title, self.retriever, self.captions = title, retriever, captions
        # Whoever searches puts it into this mode and back into that of before, and threads must not meet in between.
        retriever.method.eval()
        self.finds_pictures = retriever.takes_pictures and isinstance(retriever.method, EmbeddingMethod)
        self.thumbnail = lru_cache(_KEPT)(self._thumbnail)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def item(self, number: int) -> Item:
        """What is known of a picture."""

    @abstractmethod
    def picture(self, number: int) -> bytes:
        """The file of a picture. `DataError` where it is not there."""

    @abstractmethod
    def search(self, text: str, k: int) -> list[Match]:
        """The `k` best pictures for a text."""

    @abstractmethod
    def search_picture(self, picture: Image.Image, k: int) -> tuple[list[tuple[int, str, float]], list[Match]]:
        """For a picture: its `k` best captions, each with the number of the picture that it is of and its score; similar pictures.

        No training asked for similarity of pictures: a guide, no figure.
        """

    def why(self, text: str, number: int) -> tuple[Explanation, tuple[int, int]] | None:
        """Which regions of a picture the words of a text look at, and the size of the picture, in pixels; None without words."""
        return None

    def opened(self, number: int) -> Image.Image:
        """A picture, as 8-bit RGB. `DataError` where it cannot be shown."""
        return pictures.decode(self.picture(number), Path(f"picture {number}"))

    def _thumbnail(self, number: int) -> bytes:
        """The picture, small, as a JPEG that is made here: nothing else of its file leaves. `DataError` where it has none."""
        small = self.opened(number)
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "JPEG", quality=88)
        return out.getvalue()


class EncodedGallery(Gallery):
    """Pictures that were encoded at the start: every one is compared."""

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
        """items, encoded: the pictures, in one order; picture: the file of one, or `DataError`
        images: where they are read from, for the boxes of their regions
        texts: all captions of `items`, encoded, in their order; what a picture can be searched among
        """
        self._captions = [(number, text) for number, item in enumerate(items) for text in item.captions]
        super().__init__(title, retriever, len(self._captions))
        self.items, self.encoded, self._picture, self._texts = items, encoded, picture, texts
        self.finds_captions = texts is not None
        self._vectors = _unit(encoded.vectors) if self.finds_pictures else None
        self._images = images
        self.explains = images is not None and self._explanation("a", 0) is not None

    def __len__(self) -> int:
        return len(self.items)

    def item(self, number: int) -> Item:
        """What is known of a picture."""
        return self.items[number]

    def picture(self, number: int) -> bytes:
        """The file of a picture. `DataError` where it is not there."""
        return self._picture(number)

    def search(self, text: str, k: int) -> list[Match]:
        """As `Retriever.search` finds them."""
        return self.retriever.search(text, self.encoded, k)

    def search_picture(self, picture: Image.Image, k: int) -> tuple[list[tuple[int, str, float]], list[Match]]:
        """Similarity of pictures is the cosine of their vectors."""
        asked = self.retriever.encode_images([picture])
        found, similar = list[tuple[int, str, float]](), list[Match]()
        if self._texts is not None:
            found = [(*self._captions[item], score) for item, score in self.retriever.search(asked, self._texts, k)[0]]
        if self._vectors is not None:
            scores = self._vectors @ _unit(asked.vectors)[0]
            similar = [Match(int(item), float(scores[item])) for item in np.argsort(-scores, kind="stable")[:k]]
        return found, similar

    def why(self, text: str, number: int) -> tuple[Explanation, tuple[int, int]] | None:
        """From the method's attention."""
        found = self._explanation(text, number)
        return None if found is None or not found.words else (found, self.opened(number).size)

    def _explanation(self, text: str, number: int) -> Explanation | None:
        method = self.retriever.method
        if not isinstance(method, Attends) or self._images is None:
            return None
        device = next(method.parameters()).device
        words = self.retriever.encode_texts(text).encoded.to(device)
        image = self.encoded[number].encoded.to(device)
        assert isinstance(image, Sets) and isinstance(words, Sets)
        with torch.inference_mode():
            return explanations.explain(
                method, image, words, self.retriever.tokeniser, text, self._images, number, None
            )


class IndexGallery(Gallery):
    """The pictures of an index: nothing is encoded at the start."""

    def __init__(self, index: PictureIndex) -> None:
        record = index.record
        title = (
            f"{record.data}, {record.split} split" if record.folder is None else f"{Path(record.folder).name}, a folder"
        )
        super().__init__(f"{title}, in an index", index.retriever, 0)
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def item(self, number: int) -> Item:
        """Its path in the folder that is indexed, or its id in the data set."""
        return Item(self._index.name(number), tuple(self._index.captions(number)))

    def picture(self, number: int) -> bytes:
        """From the folder or the data set that is indexed."""
        return self._index.picture(number)

    def search(self, text: str, k: int) -> list[Match]:
        """As `PictureIndex.search` finds them."""
        return [Match(found.item, found.score) for found in self._index.search(text, k)]

    def search_picture(self, picture: Image.Image, k: int) -> tuple[list[tuple[int, str, float]], list[Match]]:
        """No captions; similarity of pictures is the inner product of their vectors."""
        return [], [Match(found.item, found.score) for found in self._index.search(picture, k)]


def of_data(retriever: Retriever, data: str, show: Show = SILENT.show) -> EncodedGallery:
    """The test split of a prepared data set, in the current project.

    `DataError` where it is not there, or its features are of another width than the run reads.
    """
    if not layout.captions(data).exists():
        raise DataError(
            f"no data set {data} is prepared here; expected the folder of its project, or --pictures FOLDER"
        )
    run, reads = retriever.record, retriever.input
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
    return EncodedGallery(
        title, retriever, items, encoded, lambda item: shown.bytes(item, table[item]), split.images, texts
    )


def of_folder(retriever: Retriever, folder: Path, show: Show = SILENT.show) -> EncodedGallery:
    """All pictures in a folder and below it.

    `DataError` where there is none, or one cannot be read, or the run takes no pictures.
    """
    paths = [folder / item.name for item in Folder(folder).items({})]
    encoded = retriever.encode_images(paths, show=show)
    items = [Item(path.relative_to(folder).as_posix()) for path in paths]
    reads, images = retriever.input, None
    if isinstance(reads, PixelInput):
        images = PixelImages(GivenPictures(paths), reads)
    return EncodedGallery(
        f"{folder.resolve().name}, a folder",
        retriever,
        items,
        encoded,
        lambda item: pictures.read_bytes(paths[item]),
        images,
    )


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
