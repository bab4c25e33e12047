"""What was retrieved for a few good and bad queries, as the report's pages show it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from itrcore.protocols.contract import Judged
from itrcore.runs.examples import CaptionQuery, ImageQuery, RankedCaption, RankedImage, Retrieved

Kind = Literal["good", "bad"]


def retrieved(judged: Judged, queries: int, rows: int) -> Retrieved:
    """For each direction at most `queries` queries, half good (rank 1) and half bad (the worst ranks), with their top `rows`.

    Where scores tie, wrong items come before right ones, as the ranks count them.
    """
    similarity, by_captions = judged.similarity, judged.by_captions
    images, image_of, ranks = judged.images, judged.image_of, judged.ranks
    captions = [caption for image in images for caption in image.captions]
    image_to_text = tuple(
        ImageQuery(
            image_id=images[query].image_id,
            file_name=images[query].file_name,
            kind=kind,
            rank=int(ranks.image_to_text[query]),
            captions=tuple(images[query].captions),
            retrieved=tuple(
                RankedCaption(
                    caption=captions[i], score=float(similarity[query, i]), correct=bool(image_of[i] == query)
                )
                for i in top(similarity[query], image_of == query, rows)
            ),
        )
        for query, kind in _queries(ranks.image_to_text, queries)
    )
    text_to_image = tuple(
        CaptionQuery(
            caption=captions[query],
            image_id=images[image_of[query]].image_id,
            file_name=images[image_of[query]].file_name,
            kind=kind,
            rank=int(ranks.text_to_image[query]),
            retrieved=tuple(
                RankedImage(
                    image_id=images[i].image_id,
                    file_name=images[i].file_name,
                    score=float(by_captions[i, query]),
                    correct=bool(image_of[query] == i),
                )
                for i in top(by_captions[:, query], np.arange(len(images)) == image_of[query], rows)
            ),
        )
        for query, kind in _queries(ranks.text_to_image, queries)
    )
    return Retrieved(image_to_text=image_to_text, text_to_image=text_to_image)


def _queries(ranks: np.ndarray, count: int) -> list[tuple[int, Kind]]:
    """Good ones spread evenly over those of rank 1, bad ones from the worst rank up (the first of equals first)."""
    n_bad = count // 2
    first = np.flatnonzero(ranks == 1)
    n_good = min(count - n_bad, len(first))
    good = first[np.linspace(0, len(first) - 1, n_good).astype(int)]
    worst = np.argsort(-ranks, kind="stable")[:n_bad]
    bad = worst[ranks[worst] > 1]
    return [*((int(query), "good") for query in good), *((int(query), "bad") for query in bad)]


def top(scores: np.ndarray, right: np.ndarray, rows: int) -> np.ndarray:
    """The places of the best `rows` of the scores, best first; where scores tie, wrong items come before right ones.

    scores: (n,), finite; right: (n,) bool
    """
    scores, rows = np.asarray(scores), min(rows, len(scores))
    last = np.partition(scores, len(scores) - rows)[len(scores) - rows]  # only what may be shown is sorted
    candidates = np.flatnonzero(scores >= last)
    return candidates[np.lexsort((right[candidates], -scores[candidates]))[:rows]]
