"""CxC correlations: whether a model finds alike what people rated alike, as Spearman's ρ.

Parekh et al. (EACL 2021) take 1,000 samples of half of the queries, with one of each query's rated partners at random. No code of
it was released. Not settled by the paper as it is known here, and chosen so: sampling without replacement; pairs within one side
are taken both ways; the queries of image and text are the captions, and also, as figures of their own, the images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from itrcore.protocols import cxc_ratings
from itrcore.protocols.contract import Figure, Judged, Protocol

SAMPLES, _SEED = 1000, 0
_GROUPS = {"t2t": "STS", "i2i": "SIS", "t2i": "SITS of captions", "i2t": "SITS of images"}


def correlations(queries: np.ndarray, ratings: np.ndarray, similarities: np.ndarray, samples: int) -> np.ndarray:
    """Spearman's ρ of each sample, (samples,), between ratings and similarities of one pair for each of half of the queries.

    queries, ratings, similarities: (n_pairs,), the query of each pair, at least four different ones
    """
    order = np.argsort(queries, kind="stable")
    ratings, similarities = (_codes(values[order]) for values in (ratings, similarities))
    _, starts, counts = np.unique(queries[order], return_index=True, return_counts=True)
    rng = np.random.default_rng(_SEED)
    found = np.empty(samples)
    for sample in range(samples):
        chosen = rng.permutation(len(starts))[: len(starts) // 2]
        pairs = starts[chosen] + (rng.random(len(chosen)) * counts[chosen]).astype(int)
        found[sample] = np.corrcoef(_ranks(ratings[pairs]), _ranks(similarities[pairs]))[0, 1]
    return found


def _codes(values: np.ndarray) -> np.ndarray:
    """Whole numbers in the order of the values, equal for equal ones: they are ranked by counting."""
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal ones have the mean of theirs."""
    counts = np.bincount(codes)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return ranks


def _rated(judged: Judged) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Side, queries, ratings and similarities of the pairs, of all that the method has."""
    if judged.vectors is not None:
        images, captions = map(np.asarray, judged.vectors)
        for side, vectors, rated in (
            ("t2t", captions, cxc_ratings.of(judged, "sts")),
            ("i2i", images, cxc_ratings.of(judged, "sis")),
        ):
            similarities = np.einsum("nd,nd->n", vectors[rated.first], vectors[rated.second])
            pairs = rated.both_ways()
            yield side, pairs.first, pairs.scores, np.concatenate([similarities, similarities])
    pairs = cxc_ratings.of(judged, "sits")
    yield "t2i", pairs.second, pairs.scores, np.asarray(judged.by_captions[pairs.first, pairs.second])
    yield "i2t", pairs.first, pairs.scores, np.asarray(judged.similarity[pairs.first, pairs.second])


def _measure(judged: Judged) -> dict[str, float]:
    figures: dict[str, float] = {}
    for side, queries, ratings, similarities in _rated(judged):
        found = 100.0 * correlations(queries, ratings, similarities, SAMPLES)
        figures |= {f"{side}_rho": float(found.mean()), f"{side}_std": float(found.std())}
    return figures


PROTOCOL = Protocol(
    "CxC correlations",
    tuple(
        figure
        for side, group in _GROUPS.items()
        for figure in (
            Figure(f"{side}_rho", group, "ρ × 100"),
            Figure(f"{side}_std", group, "deviation over samples", "deviation"),
        )
    ),
    _measure,
    "Spearman's ρ × 100, its mean and deviation over 1,000 samples (seed 0) of half of the queries, one rated partner each. No "
    "code of it was released; chosen here: without replacement; STS (t2t) and SIS (i2i) both ways; SITS with captions (t2i) and "
    "with images (i2t) as queries. Methods on sets have SITS alone.",
)
