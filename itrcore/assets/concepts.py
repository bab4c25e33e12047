"""The concepts of a run that reads them, for measuring: the sizes of real ones, drawn at random."""

from __future__ import annotations

import numpy as np

from itrcore.data.concepts.concepts import Concepts


def untrained(number: int = 300, width: int = 300) -> Concepts:
    """number: concepts, each related to itself alone; width: of their word vectors"""
    vectors = np.random.default_rng(0).standard_normal((number, width), np.float32)
    return Concepts(
        words=tuple(f"word{at}" for at in range(number)),
        kinds=("object",) * number,
        counts=np.arange(number, 0, -1),
        vectors=vectors,
        graph=np.eye(number, dtype=np.float32),
        source="captions",
        tagger="rules",
    )
