"""The images of a split as batches for methods: the contract of what reads them from shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from itrcore.cores import cores
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

    @property
    def n_bytes(self) -> int:
        """That all of them take on a device which holds them; 0 where none can."""
        return 0

    @property
    def threads(self) -> int:
        """That make batches ahead. Half of the cores: on a small machine the training needs the others."""
        return max(2, cores() // 2)

    def __len__(self) -> int:
        return len(self.store)

    @abstractmethod
    def batch(self, rows: Sequence[int] | np.ndarray) -> ImageBatch:
        """The images of these rows of the split, unchanged."""

    @abstractmethod
    def training_batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> ImageBatch:
        """The images of these rows as training changes them; all chance comes from `rng`."""

    def feeding(self, device: torch.device, hold: bool) -> Images:
        """The same images, in the form in which they cross to a device; `hold`: all of them are on it already, if they can be."""
        return self

    def verify(self, records: Path | None = None) -> None:
        """As `ShardFiles.verify`."""
        self.store.verify(records)
