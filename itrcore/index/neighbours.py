"""Which vectors of very many have the greatest inner products with a query: all compared, or the most promising ones.

A flat index compares a query with every vector. An approximate one holds the vectors in few bytes each and only proposes
items; the exact vectors of these, memory-mapped, then give scores and order. So scores are always exact, and all that can be
lost is an item that was not proposed. How much is lost is measured when the index is built, and its effort chosen by that.

    hnsw    a graph from each vector to 32 near ones (Malkov and Yashunin, 2018), a byte for each dimension
    ivfpq   lists of near vectors, each of them half a byte for every four dimensions (Jégou et al., 2011)
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch  # before FAISS, which brings a second OpenMP: in this order both work

import faiss  # isort: skip
import numpy as np

from itrcore.errors import DataError, first_line

Kind = Literal["flat", "hnsw", "ivfpq"]

FLAT, HNSW = 100_000, 2_000_000  # vectors that an index of this kind may have; beyond the second: ivfpq
NEAREST = 10  # whose share that is found is the recall that is measured
LINKS, CONSTRUCTION = 16, 80  # of HNSW: half the links of a vector, and how widely they are looked for
_EFFORTS: dict[str, Sequence[int]] = {"hnsw": (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)}
_EFFORTS["ivfpq"] = (8, *_EFFORTS["hnsw"])
_PROPOSED = 20  # times as many as asked for, by ivfpq, whose own order is rough
_TRAINED = 40  # vectors for each list, to learn the lists' centres
_BLOCK = 64  # queries whose proposals are compared at once
_ADDED = 50_000  # vectors that an index takes at once: between two of them it tells how far it has come


@dataclass(frozen=True)
class Measured:
    """effort: of a search, by which recall is bought with time; recall: share of the exact `NEAREST` that it finds."""

    effort: int
    recall: float


def kind_for(n: int) -> Kind:
    """Which index so many vectors get."""
    return "flat" if n <= FLAT else "hnsw" if n <= HNSW else "ivfpq"


def use_threads() -> None:
    """FAISS takes as many threads as torch: each has an OpenMP of its own, and neither knows the other's settings."""
    faiss.omp_set_num_threads(torch.get_num_threads())


def exact(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k greatest inner products of each query with all vectors, (m, k) float32, best first, and whose they are, (m, k).

    vectors: (n, d) float32, may be memory-mapped; queries: (m, d) float32
    """
    use_threads()
    scores, items = faiss.knn(queries, np.asarray(vectors), min(k, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
    return scores, items


class Approximate:
    """An index that proposes items; `effort` is how widely it looks: candidates of hnsw, lists of ivfpq."""

    def __init__(self, index: Any, vectors: np.ndarray, effort: int) -> None:
        """index: FAISS's; vectors: (n, d) float32, the exact ones, may be memory-mapped"""
        self._index, self._vectors, self.effort = index, vectors, effort
        self.kind: Kind = "hnsw" if isinstance(index, faiss.IndexHNSW) else "ivfpq"

    @classmethod
    def build(cls, vectors: np.ndarray, kind: Kind, show: Any = None) -> Approximate:
        """An index of these vectors. show: told how many vectors are in it; see `itrcore.progress.Show`"""
        use_threads()
        n, d = vectors.shape
        if kind == "hnsw":
            index = faiss.IndexHNSWSQ(d, faiss.ScalarQuantizer.QT_8bit, LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = CONSTRUCTION
            needed = FLAT
        else:
            lists = min(1 << round(math.log2(4 * math.sqrt(n))), max(1, n // 40))
            parts = next(parts for parts in range(max(1, d // 4), 0, -1) if d % parts == 0)
            index = faiss.index_factory(d, f"IVF{lists},PQ{parts}x4fs", faiss.METRIC_INNER_PRODUCT)
            needed = _TRAINED * lists
        some = np.sort(np.random.default_rng(0).choice(n, min(n, needed), replace=False))
        index.train(np.ascontiguousarray(vectors[some]))
        for start in range(0, n, _ADDED):
            index.add(np.ascontiguousarray(vectors[start : start + _ADDED]))
            if show is not None:
                show("vectors indexed", min(start + _ADDED, n), n)
        return cls(index, vectors, _EFFORTS[kind][0])

    @classmethod
    def read(cls, path: Path, vectors: np.ndarray, effort: int) -> Approximate:
        """An index memory-mapped from its file, whose digest must have been checked: FAISS trusts what it reads.

        `DataError` where the file is no index of these vectors.
        """
        try:
            index = faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise DataError.at(path, f"cannot be read ({first_line(error)})", "an index of FAISS") from error
        if (index.ntotal, index.d) != vectors.shape or not isinstance(index, faiss.IndexHNSW | faiss.IndexIVF):
            found = f"an index of {index.ntotal:,} vectors of width {index.d}"
            raise DataError.at(path, found, f"one of {len(vectors):,} of width {vectors.shape[1]}")
        return cls(index, vectors, effort)

    def write(self, path: Path) -> None:
        """Write the index, without the exact vectors."""
        faiss.write_index(self._index, os.fspath(path))

    def search(self, queries: np.ndarray, k: int, effort: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `exact`, of the items that the index proposes; an item of -1 with a score of minus infinity where it has too few."""
        use_threads()
        effort, k = effort or self.effort, min(k, len(self._vectors))
        if self.kind == "hnsw":
            proposed = min(max(k, effort), len(self._vectors))
            how = faiss.SearchParametersHNSW(efSearch=proposed)
        else:
            proposed = min(_PROPOSED * k, len(self._vectors))
            how = faiss.SearchParametersIVF(nprobe=min(effort, self._index.nlist))
        _, items = self._index.search(queries, proposed, params=how)
        scores = np.empty(items.shape, np.float32)
        for start in range(0, len(queries), _BLOCK):
            block = items[start : start + _BLOCK]
            scores[start : start + _BLOCK] = np.einsum(
                "mpd,md->mp", self._vectors[block], queries[start : start + _BLOCK]
            )
        scores[items < 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(items, best, axis=1)

    def measure(self, queries: np.ndarray, nearest: np.ndarray, effort: int | None = None, more: int = 0) -> Measured:
        """The share of the exact nearest that is found. nearest: (m, some) items; more: as many more are asked for"""
        _, found = self.search(queries, nearest.shape[1] + more, effort)
        hits = sum(np.intersect1d(*pair).size for pair in zip(found, nearest, strict=True))
        return Measured(effort or self.effort, hits / nearest.size)

    def tune(self, queries: np.ndarray, wanted: float, own: np.ndarray | None = None) -> Measured:
        """Choose the least effort whose measured recall is at least `wanted`; the greatest where none reaches it.

        own: (m,) the item that each query itself is, which does not count: it is always found
        """
        _, nearest = exact(self._vectors, queries, NEAREST if own is None else NEAREST + 1)
        if own is not None:
            nearest = np.stack([row[row != item][:NEAREST] for row, item in zip(nearest, own, strict=True)])
        for effort in _EFFORTS[self.kind]:
            measured = self.measure(queries, nearest, effort, more=own is not None)
            if measured.recall >= wanted or (self.kind == "ivfpq" and effort >= self._index.nlist):
                break
        self.effort = measured.effort
        return measured
