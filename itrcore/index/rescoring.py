"""A run that compares sets scores again what an index has proposed; and how much of what it would find itself is lost by that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itrcore.errors import DataError
from itrcore.index.opened import Found, PictureIndex
from itrcore.progress import SILENT, Show
from itrcore.retriever.encoded_items import EncodedItems
from itrcore.retriever.retriever import Retriever

TOP = (1, 5, 10)  # recalls that are measured


class Rescorer:
    """The pictures that an index proposes, in the order of another run, which encodes them when they are first proposed.

    They stay in main memory: in Flickr30K's size a picture's regions take some 150 KB.
    """

    def __init__(self, index: PictureIndex, run: Retriever) -> None:
        self._index, self._run = index, run
        self._place: dict[int, int] = {}  # item → where it stands among those encoded
        self._encoded: EncodedItems | None = None

    def search(self, query: str, k: int, proposed: int, compare_all: bool = False) -> list[Found]:
        """The k best of the index's first `proposed`, with the run's own similarities; with all proposed, the run's own ranking."""
        if proposed < k:
            raise DataError(f"{proposed} proposed for {k} pictures; expected at least as many")
        items = np.array([found.item for found in self._index.search(query, proposed, compare_all)])
        scores = self._scores(items, query)
        return [
            Found(int(items[at]), self._index.name(int(items[at])), float(scores[at]))
            for at in np.argsort(-scores, kind="stable")[:k]
        ]

    def _scores(self, items: np.ndarray, query: str | EncodedItems) -> np.ndarray:
        gallery = self.encode(items.tolist())
        texts = query if isinstance(query, EncodedItems) else self._run.encode_texts(query)
        return self._run.similarity(gallery, texts)[:, 0]

    def encode(self, items: Sequence[int], show: Show = SILENT.show) -> EncodedItems:
        """These pictures as the run has encoded them, each once."""
        new = [item for item in dict.fromkeys(items) if item not in self._place]
        if new:
            names = [self._index.name(item) for item in new]
            more = self._run.encode_images(self._index.gallery.given(names, self._run.input), show=show)
            self._place |= {item: len(self._place) + at for at, item in enumerate(new)}
            self._encoded = more if self._encoded is None else self._encoded + more
        assert self._encoded is not None
        return self._encoded[[self._place[item] for item in items]]


def lost(
    index: PictureIndex,
    run: Retriever,
    texts: Sequence[str],
    right: Sequence[int],
    ks: Sequence[int],
    show: Show = SILENT.show,
) -> dict[str, dict[int, float]]:
    """What is lost where the index proposes k pictures and the run scores only these, in percent of the texts.

    texts, right: captions, and the item that each belongs to; ks: how many are proposed

    `R@1`, `R@5`, `R@10`: recall of the right pictures after re-scoring; `same first`: texts whose best picture is the one that
    the run itself finds best among all. For each k, and for all pictures under their number.
    """
    rescorer, n = Rescorer(index, run), len(index)
    everything = rescorer.encode(range(n), show)
    encoded = run.encode_texts(texts)
    scores = run.similarity(everything, encoded, show=show)  # (n, m)
    _, order = index.nearest(index.retriever.encode_texts(texts).vectors, n, compare_all=True)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(n)[None], axis=1)  # (m, n): how early an item is proposed
    found: dict[str, dict[int, float]] = {name: {} for name in (*(f"R@{top}" for top in TOP), "same first")}
    answer, best = np.asarray(right), scores.argmax(axis=0)
    texts_at = np.arange(len(texts))
    for k in [*(k for k in ks if k < n), n]:
        left = np.where(place < k, scores.T, -np.inf)  # (m, n)
        own = left[texts_at, answer]
        better = (left > own[:, None]).sum(axis=1)
        for top in TOP:
            found[f"R@{top}"][k] = 100 * float(((better < top) & (own > -np.inf)).mean())
        found["same first"][k] = 100 * float((left.argmax(axis=1) == best).mean())
    return found
