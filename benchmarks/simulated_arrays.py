"""Region features with the statistics of bottom-up attention's, made as fast as a disk takes them; for benchmarks only.

Regions are drawn at random from a pool. What speed and memory depend on is right (shape, type, a third of zeros); the values
mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

REGIONS, WIDTH = 36, 2048
_POOL = 4096
# Normal values cut off below 0: 34 % zeros and a mean L2 norm of 72, as ten real images have.
_MEAN, _SPREAD = 0.68, 1.65


def feature_rows(n_images: int, regions: int = REGIONS, width: int = WIDTH, seed: int = 0) -> Iterator[np.ndarray]:
    """Images one after the other: float32 (regions, width)."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((_POOL, width), dtype=np.float32)
    pool *= _SPREAD
    pool += _MEAN
    np.maximum(pool, 0, out=pool)
    for _ in range(n_images):
        yield pool[rng.integers(_POOL, size=regions)]
