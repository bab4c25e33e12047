"""A method whose words look at regions, as simple as can be, and explanations made by hand."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.layers.encoded import Sets, Vectors
from itrcore.methods.contract import Attends, Method
from itrcore.runs.examples import Explanation


class Single(Method[RegionBatch, Vectors]):
    """One vector per image and per caption: no word looks at anything."""

    def encode_images(self, batch: RegionBatch) -> Vectors:
        return Vectors(batch.regions.sum(1))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        return Vectors(batch.ids.float().mean(1, keepdim=True))

    def similarity(self, images: Vectors, texts: Vectors) -> Tensor:
        return torch.sin(images.vectors.mean(1)[:, None] * texts.vectors[:, 0])


class Looking(Method[RegionBatch, Sets], Attends):
    """A token of id i looks with half of its attention at region i mod k, of an image's k, and evenly at all of them."""

    def encode_texts(self, batch: TextBatch) -> Sets:
        return Sets.pack(batch.ids.float()[..., None], batch.lengths)

    def encode_images(self, batch: RegionBatch) -> Sets:
        return Sets.pack(batch.regions, batch.lengths)

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        return torch.sin(_means(images)[:, None] * _means(texts))

    def attention(self, image: Sets, text: Sets) -> Tensor:
        assert len(image) == 1 and len(text) == 1
        n_regions = len(image.vectors)
        favourite = torch.nn.functional.one_hot(text.vectors[:, 0].long() % n_regions, n_regions)
        return 0.5 * favourite + 0.5 / n_regions


def _means(side: Sets) -> Tensor:
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
