"""ranks.parquet: of every query of a judged split the rank of its right answer, and its best answers. One row per query.

direction     i2t: an image asks for captions; t2i: a caption asks for images; all of i2t first, each in the order of the split
image_id      of the query, or of the caption that is the query
caption_id    of the query; null for an image
rank          of the right answer, from 1, as `itrcore/ranking.py` counts it
best_1 …      the best answers: their places in the split, from 0; null where there are fewer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itrcore.data.captions import Image
from itrcore.files import WrongKind, replacing
from itrcore.protocols.contract import Judged
from itrcore.protocols.retrieved import top
from itrcore.ranking import Ranks
from itrcore.tables import read_parquet

KEPT = 10  # best answers of each query
_BEST = [f"best_{place}" for place in range(1, KEPT + 1)]
SCHEMA = pa.schema(
    [
        ("direction", pa.string()),
        ("image_id", pa.int64()),
        ("caption_id", pa.int64()),
        ("rank", pa.int32()),
        *((name, pa.int32()) for name in _BEST),
    ]
)
_QUERIES = 1024  # captions whose similarities are taken out of the matrix at once


@dataclass(frozen=True)
class Ranked(Ranks):
    """Ranks, int32, and the best answers of each query, best first; of equal ones wrong answers come first, as in the ranks.

    captions_found: (n_images, k) int32, places of captions, k = 10 or the number of captions if there are fewer
    images_found: (n_captions, k) int32, places of images, likewise
    """

    captions_found: np.ndarray
    images_found: np.ndarray


def ranked(judged: Judged) -> Ranked:
    """The ranks and best answers of a split. `DataError` where a similarity is not finite, or matrix and images do not fit."""
    ranks = judged.ranks  # first: it refuses what is not finite
    n_images, n_captions = judged.similarity.shape
    image_of, by_captions = judged.image_of, judged.by_captions
    captions_found = np.empty((n_images, min(KEPT, n_captions)), np.int32)
    for image in range(n_images):
        captions_found[image] = top(judged.similarity[image], image_of == image, KEPT)
    images_found = np.empty((n_captions, min(KEPT, n_images)), np.int32)
    places = np.arange(n_images)
    for start in range(0, n_captions, _QUERIES):
        for caption, scores in enumerate(np.ascontiguousarray(by_captions[:, start : start + _QUERIES].T), start):
            images_found[caption] = top(scores, places == image_of[caption], KEPT)
    return Ranked(
        ranks.image_to_text.astype(np.int32), ranks.text_to_image.astype(np.int32), captions_found, images_found
    )


def write(path: Path, found: Ranked, images: Sequence[Image]) -> None:
    """Write ranks.parquet. images: of the split, in order"""
    n_images, n_captions = len(found.image_to_text), len(found.text_to_image)
    ids = np.array([image.image_id for image in images], np.int64)
    of_captions = np.repeat(ids, [len(image.caption_ids) for image in images])
    captions = np.array([caption for image in images for caption in image.caption_ids], np.int64)
    columns = {
        "direction": _directions(n_images, n_captions),
        "image_id": _column(np.concatenate([ids, of_captions])),
        "caption_id": pa.concat_arrays([pa.nulls(n_images, pa.int64()), _column(captions)]),
        "rank": _column(np.concatenate([found.image_to_text, found.text_to_image])),
    }
    for place, name in enumerate(_BEST):
        columns[name] = pa.concat_arrays(
            [
                _column(best[:, place]) if place < best.shape[1] else pa.nulls(len(best), pa.int32())
                for best in (found.captions_found, found.images_found)
            ]
        )
    with replacing(path) as temporary:
        pq.write_table(
            pa.Table.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA),
            temporary,
            write_page_checksum=True,
        )


# From buffers: `pa.array` would import pandas, which takes longer than all that is written here.
def _column(values: np.ndarray) -> pa.Array:
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _directions(n_images: int, n_captions: int) -> pa.Array:
    texts, ends = b"i2t" * n_images + b"t2i" * n_captions, 3 * np.arange(n_images + n_captions + 1, dtype=np.int32)
    return pa.StringArray.from_buffers(n_images + n_captions, pa.py_buffer(ends), pa.py_buffer(texts))


def read(path: Path) -> Ranked:
    """Read ranks.parquet. `WrongKind` where it is something else; else Arrow's errors and `OSError`."""
    table = read_parquet(path, SCHEMA)
    sides = [table.filter(pc.match_like(table["direction"], side)) for side in ("i2t", "t2i")]
    if sum(map(len, sides)) != len(table) or table["rank"].null_count or not all(map(len, sides)):
        raise WrongKind("something else", "ranks of images and of captions")
    ranks = [_numbers(side, "rank") for side in sides]
    if min(of_queries.min() for of_queries in ranks) < 1:
        raise WrongKind("a rank below 1", "ranks from 1")
    found = []
    for side, other in zip(sides, reversed(sides), strict=True):
        best = np.stack([_numbers(side, name) for name in _BEST[: len(other)]], axis=1)
        if best.min() < 0 or best.max() >= len(other):
            raise WrongKind("best answers that are no places in the split", f"numbers from 0 to {len(other) - 1:,}")
        found.append(best)
    return Ranked(*ranks, *found)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    column: np.ndarray = table[name].fill_null(-1).combine_chunks().to_numpy(zero_copy_only=False)
    return column
