"""Captions beside those of a split, such as hard negatives: encoded as the run encodes captions, scored with the split's images.

Each kind has a key of its data set that names its files, and a line of `itrcore/registry.py`: a function that is called with
(path, data set's name) before anything is encoded, and gives a `Further`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.tokens import Tokenised, Tokeniser
from itrcore.evaluation.scoring import encode_captions, evaluating, score
from itrcore.layers.encoded import Encoded
from itrcore.methods.contract import Method
from itrcore.progress import Show

E = TypeVar("E", bound=Encoded)


@dataclass(frozen=True)
class Scorer(Generic[E]):
    """What scores captions with the images of a split.

    images: of the split, encoded; batch_size: captions encoded at once; tile: images and captions scored at once
    """

    method: Method[Any, E]
    images: E
    tokeniser: Tokeniser
    batch_size: int
    tile: int
    device: torch.device
    show: Show

    def encode(self, captions: Sequence[str]) -> E:
        """Captions, encoded in their order. Those of the same tokens are encoded once: they have to score the same."""
        places: dict[tuple[int, ...], int] = {}
        different: list[Tokenised] = []
        place: list[int] = []
        for caption in map(self.tokeniser.encode, captions):
            key = tuple(caption.ids)
            if key not in places:
                places[key] = len(different)
                different.append(caption)
            place.append(places[key])
        with evaluating(self.method):
            encoded = encode_captions(self.method, TokenTable.of(different), self.batch_size, self.device)
            return encoded.take(np.array(place))

    def scores(self, images: slice, captions: E) -> np.ndarray:
        """All similarities of some of the images with encoded captions, float32. images: consecutive ones"""
        with evaluating(self.method):
            return self.method.similarity(self.images[images], captions).float().cpu().numpy()

    def all_scores(self, captions: E) -> np.ndarray:
        """All similarities of all images with encoded captions, float32, computed in tiles."""
        return score(self.method, self.images, captions, self.tile, show=self.show)


Further = Callable[[Scorer[Any], Path], None]  # scores, and writes what is kept of that into a split's folder
