"""One split of a data set: its first images, shards of other images, and captions padded to the longest."""

from __future__ import annotations

import numpy as np
import pytest

from itrcore.data import captions
from itrcore.data.feeding.batches import TextBatch
from itrcore.data.feeding.split import Split
from itrcore.data.feeding.token_table import TokenTable
from itrcore.data.text.vocabulary import Vocabulary, WordSplitter
from itrcore.errors import DataError
from tests.support.helpers import words
from tests.support.scan_data import ScanFolder


def test_first_takes_whole_images_up_to_the_number(split: Split) -> None:
    for asked, images in ((180, 60), (10**6, 60), (179, 59), (30, 10), (32, 10), (3, 1), (2, 1), (1, 1)):
        part = split.first(asked)
        assert (part.n_images, part.n_captions, len(part.caption_ids), len(part.image_of)) == (
            images,
            *[3 * images] * 3,
        )
        assert part.caption_ids == split.caption_ids[: 3 * images] and part.image_of.max() == images - 1
    assert (split.n_images, split.n_captions) == (60, 180)


def test_first_with_uneven_captions(split: Split) -> None:
    uneven = Split(split.images, range(6), TokenTable.of(words([[1, 2]] * 6)), np.array([0, 0, 0, 1, 2, 2]))
    assert [(uneven.first(n).n_images, uneven.first(n).n_captions) for n in range(1, 7)] == [
        (1, 3), (1, 3), (1, 3), (2, 4), (2, 4), (3, 6),
    ]  # fmt: skip


def test_shards_and_captions_of_other_images_do_not_make_a_split(scan_folder: ScanFolder, split: Split) -> None:
    images = captions.read(split.images.folder.parent / "captions.parquet", "train")
    vocabulary = Vocabulary.build(["a"], 1, WordSplitter(None))
    for wrong in (images[::-1], images[:-1], [*images, images[0]]):
        with pytest.raises(DataError, match="other images than the caption table's"):
            Split.open(split.images, wrong, vocabulary)


def test_texts_are_padded_to_the_longest() -> None:
    batch = TextBatch.pad([np.array([1, 5, 2]), np.array([1, 2]), np.array([1, 6, 7, 2])])
    assert batch.ids.tolist() == [[1, 5, 2, 0], [1, 2, 0, 0], [1, 6, 7, 2]] and batch.lengths.tolist() == [3, 2, 4]
