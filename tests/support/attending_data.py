"""A method whose words look at regions, as simple as can be, and explanations made by hand."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from itrcore.data.feeding.batches import Batch, ImageBatch, RegionBatch, TextBatch
from itrcore.data.feeding.inputs import RegionInput
from itrcore.layers.encoded import Encoded
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Attends, Method
from itrcore.runs.examples import Explanation


class Single(Method):
    """One vector per image and per caption: no word looks at anything."""

    input = RegionInput()

    def encode_images(self, batch: ImageBatch) -> Encoded:
        assert isinstance(batch, RegionBatch)
        return Encoded(batch.regions.sum(1))

    def encode_texts(self, batch: TextBatch) -> Encoded:
        return Encoded(batch.ids.float().mean(1, keepdim=True))

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        return torch.sin(images.vectors.mean(1)[:, None] * texts.vectors[:, 0])

    def loss(self, batch: Batch, progress: Progress) -> Losses:
        raise AssertionError("not trained")


class Looking(Single, Attends):
    """A token of id i looks with half of its attention at region i mod k, of an image's k, and evenly at all of them."""

    def encode_texts(self, batch: TextBatch) -> Encoded:
        return Sets.pack(batch.ids.float()[..., None], batch.lengths)

    def encode_images(self, batch: ImageBatch) -> Encoded:
        assert isinstance(batch, RegionBatch)
        return Sets.pack(batch.regions, batch.lengths)

    def similarity(self, images: Encoded, texts: Encoded) -> Tensor:
        return torch.sin(_means(images)[:, None] * _means(texts))

    def attention(self, image: Encoded, text: Encoded) -> Tensor:
        assert len(image) == 1 and len(text) == 1
        n_regions = len(image.vectors)
        favourite = torch.nn.functional.one_hot(text.vectors[:, 0].long() % n_regions, n_regions)
        return 0.5 * favourite + 0.5 / n_regions


def _means(side: Encoded) -> Tensor:
    assert side.lengths is not None
    return torch.stack([one.mean() for one in torch.split(side.vectors, side.lengths.tolist())])


def explanation(words: list[tuple[str, bool, list[tuple[int, float]]]], **other: Any) -> Explanation:
    """From (text, named, [(region, weight), …]) of each word; four boxes of a picture of 40 × 30 unless told."""
    value = {
        "caption": " ".join(text for text, _, _ in words),
        "image_id": 3,
        "file_name": "one.png",
        "boxes": [[0, 0, 20, 30], [20, 0, 40, 30], [10, 10, 20, 20], [0, 0, 40, 30]],
        "words": [
            {"text": text, "named": named, "looks": [{"region": region, "weight": weight} for region, weight in looks]}
            for text, named, looks in words
        ],
    }
    return Explanation.model_validate_json(json.dumps(value | other))
