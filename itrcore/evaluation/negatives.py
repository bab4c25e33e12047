"""The scores of hard negatives: of the pairs of right and wrong captions whose picture is in test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itrcore import layout
from itrcore.data import captions, hard_negatives
from itrcore.data.hard_negatives import HardNegative
from itrcore.errors import DataError
from itrcore.evaluation.further import Further, Scorer
from itrcore.runs.folder import SPLIT
from itrcore.runs.pairs import PAIRS, Pairs


def prepare(path: Path, data: str) -> Further:
    """Read the pairs in a folder. `DataError` where a file of it is wrong, or the data set does not have its pictures."""
    asked = of_test(path, data)

    def score(scorer: Scorer[Any], folder: Path) -> None:
        scored(asked, scorer).write(folder / PAIRS)

    return score


def of_test(path: Path, data: str) -> list[tuple[int, HardNegative]]:
    """The pairs whose picture is in test, with its place there. Others were trained on, or the weights chosen by them.

    `DataError`, with a count, where pictures are in no split of the data set, or none is in test.
    """
    table = captions.read_table(layout.captions(data))
    known = set(table["image_id"].unique().to_pylist())
    test = captions.rows_of(table, SPLIT)
    place_of = dict(zip(test["image_id"].to_pylist(), test["position"].to_pylist(), strict=True))
    pairs = hard_negatives.read(path)
    if strange := [pair.image_id for pair in pairs if pair.image_id not in known]:
        raise DataError.at(
            path,
            f"{len(strange):,} of {len(pairs):,} pairs are of pictures in no split of {data} (the first: id {strange[0]})",
            "COCO's pictures by COCO's ids",
        )
    asked = [(place_of[pair.image_id], pair) for pair in pairs if pair.image_id in place_of]
    if not asked:
        raise DataError.at(path, f"none of {len(pairs):,} pairs is of a picture of {data}'s test", "some")
    return asked


def scored(asked: list[tuple[int, HardNegative]], scorer: Scorer[Any]) -> Pairs:
    """Encode both captions of each pair and score them with their picture. asked: as of `of_test`"""
    # The pairs of a picture one after the other: it is scored once.
    asked = sorted(asked, key=lambda each: each[0])
    encoded = scorer.encode([caption for _, pair in asked for caption in (pair.caption, pair.negative)])
    places = np.array([place for place, _ in asked])
    scores = np.empty((len(asked), 2), np.float32)
    starts = np.flatnonzero(np.diff(places, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(asked)], strict=True):
        image = slice(place := int(places[start]), place + 1)
        scores[start:end] = scorer.scores(image, encoded[2 * start : 2 * end]).reshape(-1, 2)
    pairs = [pair for _, pair in asked]
    return Pairs(
        np.array([pair.category for pair in pairs], object), np.array([pair.image_id for pair in pairs]), scores
    )
