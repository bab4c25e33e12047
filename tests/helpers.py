"""What several test files build: tiny methods and batches, small enough to train in a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from itrcore.data.batches import Batch, ImageBatch, TextBatch
from itrcore.models.settings import MethodSettings

METHOD_MODELS: dict[str, dict[str, Any]] = {
    "vse_pp_bigru": {"kind": "vse", "pooling": {"kind": "mean"}},
    "vse_infty_bigru": {
        "kind": "vse",
        "pooling": {"kind": "gpo", "code_dim": 8, "hidden_dim": 8, "temperature": 0.1},
    },
    "esa_bigru": {
        "kind": "esa",
        "views": 2,
        "token_views": {"touch": 0.2, "mask": 0.5, "random": 0.1, "remove": 0.4},
    },
}


def method_settings(name: str, dim: int = 16, **recipe: Any) -> MethodSettings:
    """Settings of one of the methods at a tiny size; `recipe` changes the recipe's entries."""
    return MethodSettings.model_validate(
        {
            "model": {
                **METHOD_MODELS[name],
                "dim": dim,
                "text": {"kind": "bigru", "word_dim": 8, "dropout": 0.0},
                "region_drop": 0.2,
            },
            "loss": {"margin": 0.2, "warmup_epochs": 1},
            "recipe": {
                "learning_rate": 5e-3,
                "weight_decay": 1e-4,
                "batch_size": 4,
                "epochs": 3,
                "decay_epochs": [],
                "decay": 0.1,
                "clip_norm": 2.0,
                **recipe,
            },
        }
    )


def image_batch(lengths: list[int], width: int, seed: int = 0) -> ImageBatch:
    """Images of the given numbers of regions, zero-padded to the longest."""
    regions = torch.randn(len(lengths), max(lengths), width, generator=torch.Generator().manual_seed(seed))
    for row, length in enumerate(lengths):
        regions[row, length:] = 0
    return ImageBatch(regions, torch.tensor(lengths))


def text_batch(lengths: list[int], n_words: int, seed: int = 0) -> TextBatch:
    """Random captions of the given lengths, ids from 1 to n_words − 1."""
    rng = np.random.default_rng(seed)
    return TextBatch.pad([rng.integers(1, n_words, length) for length in lengths])


def pair_batch(n: int, views: int, width: int, n_words: int, seed: int = 0) -> Batch:
    """n images with a caption of their own each, repeated for each view."""
    rng = np.random.default_rng(seed)
    captions = [rng.integers(1, n_words, int(rng.integers(4, 9))) for _ in range(n)]
    texts = TextBatch.pad([caption for caption in captions for _ in range(views)])
    lengths = [int(length) for length in rng.integers(2, 6, n)]
    return Batch(image_batch(lengths, width, seed), texts, list(range(n)), list(range(n)))
