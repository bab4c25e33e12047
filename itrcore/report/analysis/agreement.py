"""Whether results fail at the same queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def also_wrong(wrong: np.ndarray) -> np.ndarray:
    """(n, n): of the queries that result i has wrong, the percentage that j has wrong too; nan where i has none wrong.

    wrong: (n, n_queries) bool
    """
    both = _both(wrong)
    with np.errstate(invalid="ignore"):
        shares: np.ndarray = 100 * both / np.diagonal(both)[:, None]
    return shares


def kappa(wrong: np.ndarray) -> np.ndarray:
    """(n, n): Cohen's κ (1960) of right and wrong: 1 where two results fail at the same queries, 0 where only by chance.

    wrong: (n, n_queries) bool. nan where chance alone would agree everywhere: both right, or both wrong, at all queries.
    """
    queries, both = wrong.shape[1], _both(wrong)
    share = np.diagonal(both) / queries
    agree = (2 * both + queries) / queries - share[:, None] - share
    chance = np.outer(share, share) + np.outer(1 - share, 1 - share)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (agree - chance) / (1 - chance), np.nan)


def _both(wrong: np.ndarray) -> np.ndarray:
    of_each = wrong.astype(np.float64)
    both: np.ndarray = of_each @ of_each.T
    return both


def of_rows(matrix: np.ndarray, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """A matrix of results as one of rows of results: means over the pairs of two results, without a result and itself.

    matrix: (n, n), of whose values nan are left out; rows: the results of each row. nan where there is no pair.
    So the diagonal says how far a row's seeds agree with each other.
    """
    other = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    blocks = [[other[np.ix_(row, column)] for column in rows] for row in rows]
    return np.array([[np.nan if np.isnan(b).all() else np.nanmean(b) for b in line] for line in blocks])


def missed_by_all(wrong: np.ndarray) -> np.ndarray:
    """The places of the queries that every result has wrong. wrong: (n, n_queries) bool"""
    return np.flatnonzero(wrong.all(axis=0))


def only(wrong: np.ndarray, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """For each row the places of the queries that all its results have right, and none of any other row."""
    failing = wrong.sum(axis=0)
    return [np.flatnonzero(~wrong[row].any(axis=0) & (failing == len(wrong) - len(row))) for row in map(list, rows)]
