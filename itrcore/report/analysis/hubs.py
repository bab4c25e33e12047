"""Hubness: whether a few items are among the best answers of very many queries, and many items of none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hubness:
    """How unevenly items are retrieved.

    skewness: of N_k, how many queries have an item among their k best (Radovanović et al., JMLR 2010); 0 where all are equal
    never: the share of items, in percent, that no query has there
    largest: the greatest N_k
    """

    skewness: float
    never: float
    largest: int


def occurrences(found: np.ndarray, items: int) -> np.ndarray:
    """N_k of each item, (items,) int64. found: (n_queries, k), the places of the k best answers of each query"""
    return np.bincount(found.ravel(), minlength=items)


def hubness(counts: np.ndarray) -> Hubness:
    """counts: of `occurrences`"""
    away = counts - counts.mean()
    spread = float(np.sqrt((away**2).mean()))
    skewness = float((away**3).mean()) / spread**3 if spread > 0 else 0.0
    return Hubness(skewness, float(100 * (counts == 0).mean()), int(counts.max()))


def by_chance(queries: int, k: int, items: int) -> tuple[float, float]:
    """Skewness and share never retrieved, as in `Hubness`, that random rankings are expected to have: N_k is binomial."""
    p = k / items
    spread = np.sqrt(queries * p * (1 - p))
    return float((1 - 2 * p) / spread) if spread > 0 else 0.0, float(100 * (1 - p) ** queries)
