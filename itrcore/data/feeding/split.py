"""One split of a data set, ready for a method: images on disk, captions as tokens in memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch

from itrcore.data.captions import Image
from itrcore.data.feeding.batches import TextBatch
from itrcore.data.feeding.images import Images
from itrcore.data.feeding.kept_tokens import tokens_of
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.tokens import Tokeniser
from itrcore.errors import DataError


class Split:
    """Images and captions of a split, in its order.

    image_of: (n_captions,) the image (row of the split) each caption belongs to
    """

    def __init__(self, images: Images, caption_ids: Sequence[int], tokens: TokenTable, image_of: np.ndarray) -> None:
        self.tokens = tokens
        if len(self.tokens) != len(image_of) or (len(image_of) and int(image_of.max()) >= len(images)):
            raise DataError(f"{images.folder}: captions of {image_of.max() + 1} images for {len(images)} samples")
        self.images, self.n_images = images, len(images)
        self.caption_ids, self.image_of = list(caption_ids), image_of

    @property
    def n_captions(self) -> int:
        """Of all images."""
        return len(self.tokens)

    @classmethod
    def open(cls, images: Images, table: Sequence[Image], tokeniser: Tokeniser, kept: Path | None = None) -> Split:
        """From the shards and the caption table (`captions.read`) of the same split. kept: as for `tokens_of`"""
        if [image.image_id for image in table] != images.image_ids:
            raise DataError.at(
                images.folder, "other images than the caption table's", "the same, in order", do="Run: dvc repro"
            )
        counts = [len(image.captions) for image in table]
        return cls(
            images,
            [caption_id for image in table for caption_id in image.caption_ids],
            tokens_of([caption for image in table for caption in image.captions], tokeniser, kept),
            np.repeat(np.arange(len(table)), counts),
        )

    def texts(self, rows: Sequence[int] | np.ndarray) -> TextBatch:
        """The captions of these rows, padded to the longest of them."""
        return self.tokens.batch(rows)

    def feeding(self, device: torch.device, hold: bool) -> Split:
        """The same split, for batches that go to a device; see `Images.feeding`."""
        part = copy(self)
        part.images = self.images.feeding(device, hold)
        return part

    def first(self, captions: int) -> Split:
        """The first images whose captions number at most `captions` in all (at least one image)."""
        n_captions = min(captions, self.n_captions)
        n_images = max(1, int(np.searchsorted(np.bincount(self.image_of).cumsum(), n_captions, side="right")))
        n_captions = int((self.image_of < n_images).sum())
        part = copy(self)
        part.n_images, part.tokens = n_images, self.tokens.first(n_captions)
        part.caption_ids, part.image_of = self.caption_ids[:n_captions], self.image_of[:n_captions]
        return part
