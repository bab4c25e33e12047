"""A trained run that encodes any pictures and texts, compares them and searches among them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from PIL.Image import Image

from itrcore import layout
from itrcore.data.feeding.images import Images
from itrcore.data.feeding.pixels import PixelImages
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.image_inputs import PixelInput, RegionInput
from itrcore.data.text.tokens import Tokeniser
from itrcore.errors import DataError
from itrcore.evaluation import scoring
from itrcore.evaluation.load import LoadedRun
from itrcore.extraction.extractor import Extractor
from itrcore.extraction.load import load_described
from itrcore.layers.encoded import Encoded
from itrcore.methods.contract import Method
from itrcore.progress import SILENT, Show
from itrcore.retriever import encoded_items
from itrcore.retriever.encoded_items import EncodedItems
from itrcore.retriever.given import GivenFeatures, GivenPictures, Picture
from itrcore.runs.records import Run

_BATCH = 128  # images or texts that are encoded at once
_BATCHES = 8  # of images, that are encoded before they leave the device
_TILE = 512  # images and texts that are compared at once
_TOGETHER = 16  # pictures whose region features are computed at once
_CPU = torch.device("cpu")
_Pictures = Sequence[Picture]
_Features = np.ndarray | Sequence[np.ndarray]
_One = str | os.PathLike[str] | Image
_Several = EncodedItems | Sequence[str] | Sequence[os.PathLike[str] | Image]


class Match(NamedTuple):
    """An item of a gallery that a search has found: its number there, and its similarity with the query."""

    item: int
    score: float


class Retriever:
    """A trained run in use. `itrcore.load` makes one.

    Numbers are those of `evaluate` in float32; inside `torch.autocast` they are as precise as that is.
    """

    def __init__(self, run: LoadedRun, device: torch.device) -> None:
        self._run, self._device = run, device
        self._method = run.method.to(device)

    @property
    def record(self) -> Run:
        """What run.json says of the run: its settings, data set, seed, figures on dev."""
        return self._run.record

    @property
    def method(self) -> Method[Any, Any]:
        """The model."""
        return self._method

    @property
    def tokeniser(self) -> Tokeniser:
        """What makes tokens of texts."""
        return self._run.assets.text.tokeniser

    @property
    def weights(self) -> str:
        """SHA-256 of its weights: what is encoded with others cannot be compared with what it encodes."""
        return self.record.files[layout.WEIGHTS]

    @property
    def input(self) -> RegionInput | PixelInput:
        """What its method reads of an image."""
        return self._method.input

    def __repr__(self) -> str:
        return f"<{self._name}: {self.record.family}, reads {self._reads}, on {self._device}>"

    def encode_images(
        self, images: Picture | Iterable[Picture] | _Features, batch_size: int = _BATCH, show: Show = SILENT.show
    ) -> EncodedItems:
        """Encode images, each once; item i of the result is image i.

        images: paths of pictures or PIL pictures, one or many; or region features, as an array (n, regions, width) or as n
            arrays (regions, width), whose numbers of regions may differ
        batch_size: images at once; show: told how many images are encoded

        A method that reads regions takes pictures if the features that it was trained on were computed by a model that is known
        (docs/your-own-data.md); this model then computes those of the pictures too.

        `DataError` names a picture that cannot be read or features of another form, and where the method cannot take what is
        given, it says what it takes.

        >>> photos = run.encode_images(["photos/beach.jpg", "photos/dog.jpg"])
        >>> len(photos), photos.vectors.dtype
        (2, dtype('float32'))
        """
        if isinstance(images, str | os.PathLike | Image):
            images = [images]
        given = images if isinstance(images, np.ndarray) else list(images)
        if not len(given):
            raise DataError("no images; expected at least one")
        with scoring.evaluating(self._method):
            if isinstance(given, list) and not isinstance(given[0], np.ndarray):
                blocks = self._of_pictures(given, batch_size)
            elif isinstance(self._method.input, PixelInput):
                raise DataError(f"{self._name} reads {self._reads}, not arrays; expected paths or PIL pictures")
            else:
                blocks = self._encode(self._regions(given), batch_size)
            encoded = list[Encoded]()
            done = 0
            for block in blocks:
                encoded.append(block)
                done += len(block)
                show("images encoded", done, len(given))
        return EncodedItems("images", self._run, type(encoded[0]).join(encoded))

    def encode_stored(self, images: Images, batch_size: int = _BATCH, show: Show = SILENT.show) -> EncodedItems:
        """As `encode_images`, of the images of a prepared split (`open_split`) in their order, read as they are needed."""
        with scoring.evaluating(self._method):
            encoded = list[Encoded]()
            for block in self._encode(images, batch_size):
                encoded.append(block)
                show("images encoded", sum(map(len, encoded)), len(images))
        return EncodedItems("images", self._run, type(encoded[0]).join(encoded))

    def encode_texts(
        self, texts: str | Iterable[str], batch_size: int = _BATCH, show: Show = SILENT.show
    ) -> EncodedItems:
        """Encode texts, each once; item i of the result is text i. `DataError` where something is no text.

        texts: one or many; batch_size: at once; show: told how many are encoded

        >>> run.encode_texts(["a dog on a beach", "two people"])
        <2 texts encoded by scenes-esl_h_clip-1>
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        if not given:
            raise DataError("no texts; expected at least one")
        for row, text in enumerate(given):
            if not isinstance(text, str):
                raise DataError.at("the texts given", f"a {type(text).__name__}", "a text", row)
        table = TokenTable.of(map(self.tokeniser.encode, given))
        with scoring.evaluating(self._method):
            encoded = scoring.encode_captions(self._method, table, batch_size, self._device, show)
        return EncodedItems("texts", self._run, encoded.to(_CPU))

    def similarity(
        self,
        images: EncodedItems | Picture | Iterable[Picture] | _Features,
        texts: EncodedItems | str | Iterable[str],
        tile: int = _TILE,
        show: Show = SILENT.show,
    ) -> np.ndarray:
        """All similarities, (n_images, n_texts) float32; higher is more alike.

        images, texts: encoded, or what `encode_images` and `encode_texts` take
        tile: images and texts that are compared at once, which bounds the memory that it takes beside the result
        show: told how many pairs are compared

        >>> run.similarity(["photos/beach.jpg", "photos/dog.jpg"], ["a dog on a beach"]).shape
        (2, 1)
        """
        ours = images if isinstance(images, EncodedItems) else self.encode_images(images)
        theirs = texts if isinstance(texts, EncodedItems) else self.encode_texts(texts)
        ours.check("images", self._run)
        theirs.check("texts", self._run)
        matrix = np.empty((len(ours), len(theirs)), np.float32)
        with scoring.evaluating(self._method):
            for rows, columns, scores in self._tiles(ours, theirs, tile):
                matrix[rows, columns] = scores
                show("pairs compared", rows.start * len(theirs) + len(scores) * columns.stop, matrix.size)
        return matrix

    @overload
    def search(self, query: _One, gallery: EncodedItems, k: int = ..., tile: int = ...) -> list[Match]: ...  # type: ignore[overload-overlap]

    @overload
    def search(self, query: _Several, gallery: EncodedItems, k: int = ..., tile: int = ...) -> list[list[Match]]: ...

    def search(
        self,
        query: _One | _Several,
        gallery: EncodedItems,
        k: int = 10,
        tile: int = _TILE,
    ) -> list[Match] | list[list[Match]]:
        """The `k` items of the gallery that are most similar to a query, best first; of equal ones the first in the gallery.

        Every item is compared: the search is exact. No more scores are held than those of a tile and the best.

        query: a text, or a picture as a `Path` or a PIL picture (a string is a text): the result is a list of matches. Several
            of them in a list, or encoded items: the result is such a list for each
        gallery: encoded images for texts, encoded texts for pictures; k: how many; all where it has fewer
        tile: as of `similarity`

        >>> photos = run.encode_images(["photos/beach.jpg", "photos/dog.jpg"])
        >>> best = run.search("a dog on a beach", photos, k=1)
        >>> len(best), best[0].item in (0, 1)
        (1, True)
        >>> answers = run.search([Path("photos/dog.jpg")], run.encode_texts(["a dog on a beach", "two people"]))
        >>> sorted(match.item for match in answers[0])
        [0, 1]
        """
        asked = self._asked(query)
        if k < 1:
            raise DataError(f"k is {k}; expected at least 1")
        texts = asked.side == "texts"
        gallery.check("images" if texts else "texts", self._run)
        asked.check(asked.side, self._run)
        k = min(k, len(gallery))
        scores = np.full((len(asked), k), -np.inf, np.float32)
        numbers = np.zeros((len(asked), k), np.int64)
        with scoring.evaluating(self._method):
            for rows, columns, tile_scores in self._tiles(*((gallery, asked) if texts else (asked, gallery)), tile):
                queries, items, found = (columns, rows, tile_scores.T) if texts else (rows, columns, tile_scores)
                known = np.broadcast_to(np.arange(items.start, items.start + found.shape[1]), found.shape)
                both = np.concatenate([scores[queries], found], axis=1)
                both_numbers = np.concatenate([numbers[queries], known], axis=1)
                # Stable: among equal scores those found before, whose numbers are lower, stay in front.
                best = np.argsort(-both, axis=1, kind="stable")[:, :k]
                scores[queries] = np.take_along_axis(both, best, axis=1)
                numbers[queries] = np.take_along_axis(both_numbers, best, axis=1)
        matches = [list(map(Match, *both)) for both in zip(numbers.tolist(), scores.tolist(), strict=True)]
        return matches[0] if isinstance(query, str | os.PathLike | Image) else matches

    def read(self, path: str | os.PathLike[str]) -> EncodedItems:
        """What `save` of encoded items wrote. `DataError` where it is of other weights than this run's, or no such file.

        >>> run.encode_texts(["two people"]).save("texts.safetensors")
        >>> run.read("texts.safetensors")
        <1 texts encoded by scenes-esl_h_clip-1>
        """
        return encoded_items.read(path, self._run)

    @property
    def takes_pictures(self) -> bool:
        """Whether `encode_images` takes pictures: where not, only features that others computed."""
        return isinstance(self._method.input, PixelInput) or "extractor" in self.record.inputs.get("data", {})

    @cached_property
    def _extractor(self) -> Extractor:
        description = self.record.inputs["data"].get("extractor")
        if description is None:
            raise DataError(
                f"{self._name} reads {self._reads}, and its record names no model that computes them from pictures; expected "
                "arrays (n, regions, width), or a run on computed features (docs/your-own-data.md)"
            )
        return load_described(description, self._device)

    @property
    def _name(self) -> str:
        return self.record.name

    @property
    def _reads(self) -> str:
        width = self.record.width
        return "pictures" if isinstance(self._method.input, PixelInput) else f"region features of width {width}"

    def _of_pictures(self, pictures: _Pictures, batch_size: int) -> Iterator[Encoded]:
        store, given = GivenPictures(pictures), self._method.input
        if isinstance(given, PixelInput):
            yield from self._encode(PixelImages(store, given), batch_size)
            return
        extractor = self._extractor
        for start in range(0, len(pictures), _TOGETHER):
            rows = range(start, min(start + _TOGETHER, len(pictures)))
            features = extractor([store.image(row) for row in rows]).features
            yield from self._encode(self._regions(features), batch_size)

    def _regions(self, features: _Features) -> RegionImages:
        given, width = self._method.input, self.record.width
        assert not isinstance(given, PixelInput) and width is not None
        return RegionImages(GivenFeatures(features, width), given)

    def _encode(self, images: Images, batch_size: int) -> Iterator[Encoded]:
        """A few batches at a time, so that no more of them lie on a GPU."""
        rows, step = range(len(images)), _BATCHES * batch_size
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield scoring.encode_images(self._method, images, part, batch_size, self._device).to(_CPU)

    def _tiles(self, images: EncodedItems, texts: EncodedItems, tile: int) -> Iterator[tuple[slice, slice, np.ndarray]]:
        return scoring.tiles(self._method, images.encoded, texts.encoded, tile, self._device)

    def _asked(self, query: _One | _Several) -> EncodedItems:
        if isinstance(query, EncodedItems):
            return query
        if isinstance(query, str) or (isinstance(query, Sequence) and query and isinstance(query[0], str)):
            return self.encode_texts(query)  # type: ignore[arg-type]  # the first one tells the kind of all
        return self.encode_images(query)
