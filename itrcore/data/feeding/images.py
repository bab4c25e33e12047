"""The images of a split as batches for methods: the contract of what reads them from shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from itrcore.data.feeding.batches import ImageBatch
from itrcore.data.shards.files import Store


class Images(ABC):
    """One split's images. Threads may share one object."""

    store: Store

    @property
    def folder(self) -> Path:
        """Of the shards."""
        return self.store.folder

    @property
    def image_ids(self) -> list[int]:
        """Of every image, in order."""
        return self.store.image_ids

    def __len__(self) -> int:
        return len(self.store)

    @abstractmethod
    def batch(self, rows: Sequence[int] | np.ndarray) -> ImageBatch:
        """The images of these rows of the split, unchanged."""

    @abstractmethod
    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> ImageBatch:
        """The images of these rows as training changes them; all chance comes from `rng`."""

    def verify(self, records: Path | None = None) -> None:
        """As `ShardFiles.verify`."""
        self.store.verify(records)
