"""The order in which training sees pairs, and the batches that it makes of them.

The order is a seeded permutation of all (image, caption) pairs of the split, another one each epoch. All chance in a batch
follows from (seed, epoch, step), so that a run can be continued at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from itrcore.data.feeding.ahead import ahead
from itrcore.data.feeding.batches import Batch
from itrcore.data.feeding.split import Split
from itrcore.data.text.tokens import TokenIds
from itrcore.errors import DataError
from itrcore.settings.methods import TokenViewSettings


@dataclass(frozen=True)
class Views:
    """How a method wants captions changed in training; by default each is taken once, unchanged.

    captions: how many token sequences are made of each caption; touch: how each is changed, and with which ids
    """

    captions: int = 1
    touch: tuple[TokenViewSettings, TokenIds] | None = None


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
        """Steps per epoch. The last pairs of the epoch's order, too few for a batch, are left out: other pairs each epoch."""
        return self.split.n_captions // self.batch_size

    def epoch(
        self, epoch: int, start: int = 0, ready: Callable[[Batch], Batch] = lambda batch: batch
    ) -> Generator[Batch]:
        """Batches of one epoch from step `start` on; the next ones are made in threads while one is used.

        ready: what is done with each there
        """
        order = np.random.default_rng([self.seed, epoch]).permutation(self.split.n_captions)

        def make(step: int) -> Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            return ready(self._batch(rows, np.random.default_rng([self.seed, epoch, step])))

        return ahead(make, range(start, len(self)), self.split.images.threads)

    def _batch(self, captions: np.ndarray, rng: np.random.Generator) -> Batch:
        rows_of_images = self.split.image_of[captions]
        images = self.split.images.training_batch(rows_of_images, rng)
        rows = np.repeat(captions, self.views.captions)
        tokens, touch = self.split.tokens, self.views.touch
        return Batch(
            images,
            tokens.batch(rows) if touch is None else tokens.touched(rows, *touch, rng),
            [self.split.images.image_ids[row] for row in rows_of_images],
            [self.split.caption_ids[row] for row in captions],
        )
