"""Batches: what a method is given, and how training pairs and evaluation blocks are put into them.

Training order is a seeded permutation of all (image, caption) pairs of the split, another one each epoch; everything
random about a batch follows from (seed, epoch, step), so a run can be continued at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from itrcore.cores import cores
from itrcore.data.captions import Image
from itrcore.data.settings import TokenViewSettings
from itrcore.data.token_table import TokenTable, touch_tokens
from itrcore.data.tokens import TokenIds, Tokenised, Tokeniser
from itrcore.data.vocabulary import PAD
from itrcore.errors import DataError

if TYPE_CHECKING:
    from itrcore.data.images import Images


@dataclass(frozen=True)
class RegionBatch:
    """regions: (n, k, width) float32, zero-padded; lengths: (n,) int64, regions of each image, on the CPU."""

    regions: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> RegionBatch:
        """The same on a device; lengths stay on the CPU, where the encoders want them."""
        return RegionBatch(self.regions.to(device, non_blocking=True), self.lengths)


@dataclass(frozen=True)
class PixelBatch:
    """pixels: (n, 3, height, width) float32, as the method's `PixelInput` has them."""

    pixels: Tensor

    def to(self, device: torch.device) -> PixelBatch:
        """The same on a device."""
        return PixelBatch(self.pixels.to(device, non_blocking=True))


ImageBatch = RegionBatch | PixelBatch


@dataclass(frozen=True)
class TextBatch:
    """ids: (m, l) int64, padded with 0; lengths: (m,) int64, tokens of each caption, on the CPU."""

    ids: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> TextBatch:
        """The same on a device; lengths stay on the CPU."""
        return TextBatch(self.ids.to(device, non_blocking=True), self.lengths)

    @classmethod
    def pad(cls, captions: Sequence[np.ndarray]) -> TextBatch:
        """From arrays of ids."""
        lengths = torch.tensor([len(caption) for caption in captions])
        ids = torch.full((len(captions), int(lengths.max())), PAD, dtype=torch.int64)
        for row, caption in enumerate(captions):
            ids[row, : len(caption)] = torch.from_numpy(caption)
        return cls(ids, lengths)


@dataclass(frozen=True)
class Batch:
    """n pairs: images (n), texts (n · views, the views of a pair adjacent); which pairs they are, for messages."""

    images: ImageBatch
    texts: TextBatch
    image_ids: list[int]
    caption_ids: list[int]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.images.to(device), self.texts.to(device), self.image_ids, self.caption_ids)


class Split:
    """One split ready for a method: images on disk, captions as tokens in memory.

    image_of: (n_captions,) the image (row of the split) each caption belongs to
    """

    def __init__(
        self, images: Images, caption_ids: Sequence[int], captions: Iterable[Tokenised], image_of: np.ndarray
    ) -> None:
        self.tokens = TokenTable.of(captions)
        if len(self.tokens) != len(image_of) or (len(image_of) and int(image_of.max()) >= len(images)):
            raise DataError(f"{images.folder}: captions of {image_of.max() + 1} images for {len(images)} samples")
        self.images, self.n_images = images, len(images)
        self.caption_ids, self.image_of = list(caption_ids), image_of

    @property
    def n_captions(self) -> int:
        """Captions of all images."""
        return len(self.tokens)

    @classmethod
    def open(cls, images: Images, table: Sequence[Image], tokeniser: Tokeniser) -> Split:
        """From the shards and the caption table (`captions.read`) of the same split."""
        if [image.image_id for image in table] != images.image_ids:
            raise DataError.at(
                images.folder, "other images than the caption table's", "the same, in order", do="Run: dvc repro"
            )
        counts = [len(image.captions) for image in table]
        return cls(
            images,
            [caption_id for image in table for caption_id in image.caption_ids],
            (tokeniser.encode(caption) for image in table for caption in image.captions),
            np.repeat(np.arange(len(table)), counts),
        )

    def texts(self, rows: Sequence[int] | np.ndarray) -> TextBatch:
        """The given captions."""
        return TextBatch.pad([self.tokens.ids_of(row) for row in rows])

    def first(self, captions: int) -> Split:
        """The first images whose captions number at most `captions` in all (at least one image)."""
        n_captions = min(captions, self.n_captions)
        n_images = max(1, int(np.searchsorted(np.bincount(self.image_of).cumsum(), n_captions, side="right")))
        n_captions = int((self.image_of < n_images).sum())
        part = copy(self)
        part.n_images, part.tokens = n_images, self.tokens.first(n_captions)
        part.caption_ids, part.image_of = self.caption_ids[:n_captions], self.image_of[:n_captions]
        return part


@dataclass(frozen=True)
class Views:
    """How a method wants its captions changed in training; a method without views leaves them as they are.

    captions: token sequences made of each caption; tokens: how each is touched, with which `ids`
    """

    captions: int = 1
    tokens: TokenViewSettings | None = None
    ids: TokenIds | None = None


class TrainingBatches:
    """The shuffled training pairs of a split, epoch by epoch."""

    def __init__(self, split: Split, batch_size: int, seed: int, views: Views) -> None:
        if batch_size > split.n_captions:
            raise DataError(
                f"{split.images.folder}: a batch of {batch_size} pairs needs as many captions, the training split has "
                f"{split.n_captions}; lower recipe.batch_size"
            )
        self.split, self.batch_size, self.seed, self.views = split, batch_size, seed, views

    def __len__(self) -> int:
        """Steps per epoch. The rest that does not fill a batch sits out; another one each epoch."""
        return self.split.n_captions // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of one epoch from step `start` on; the next ones are made in threads while one is used."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.split.n_captions)

        def make(step: int) -> Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            return self._batch(rows, np.random.default_rng([self.seed, epoch, step]))

        return _ahead(make, range(start, len(self)))

    def _batch(self, captions: np.ndarray, rng: np.random.Generator) -> Batch:
        rows_of_images = self.split.image_of[captions]
        images = self.split.images.training_batch(rows_of_images, rng)
        rows = np.repeat(captions, self.views.captions)
        if self.views.tokens and self.views.ids:
            ids = touch_tokens(self.split.tokens, rows, self.views.tokens, self.views.ids, rng)
        else:
            ids = [self.split.tokens.ids_of(row) for row in rows]
        return Batch(
            images,
            TextBatch.pad(ids),
            [self.split.images.image_ids[row] for row in rows_of_images],
            [self.split.caption_ids[row] for row in captions],
        )


def _ahead(make: Callable[[int], Batch], steps: Sequence[int]) -> Iterator[Batch]:
    # Threads, as reading and converting features lets the others run, and as batches then need not be copied between
    # processes. Half of the cores: the training needs the others on a small machine, and a GPU keeps few of them busy.
    workers = max(2, cores() // 2)
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        waiting = [pool.submit(make, step) for step in steps[: workers + 1]]
        for step in steps[workers + 1 :]:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(make, step))
        for future in waiting:
            yield future.result()
