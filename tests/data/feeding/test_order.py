"""Training batches: every pair once an epoch, truly shuffled, the same for the same seed; the views at their rates."""

from __future__ import annotations

import threading
import time
from collections import Counter
from copy import copy

import numpy as np
import pytest
import torch

from itrcore.data.feeding.batches import Batch, ImageBatch
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.regions import RegionImages
from itrcore.data.feeding.split import Split
from itrcore.data.image_inputs import RegionInput
from itrcore.errors import DataError
from itrcore.settings.methods import TokenViewSettings
from tests.support.helpers import regions_of, token_ids
from tests.support.scan_data import ScanFolder

PER_IMAGE = 3
TOKENS = TokenViewSettings(touch=0.2, mask=0.5, random=0.1, remove=0.4)


def dropping(split: Split, drop: float) -> Split:
    """The same split, of which training takes regions out."""
    assert isinstance(split.images, RegionImages)
    part = copy(split)
    part.images = RegionImages(split.images.store, RegionInput(drop))
    return part


def ids_of(batches: list[Batch]) -> list[int]:
    return [caption_id for batch in batches for caption_id in batch.caption_ids]


def epoch_ids(split: Split, seed: int, epoch: int, size: int = 8, start: int = 0) -> list[int]:
    return ids_of(list(TrainingBatches(split, size, seed, Views()).epoch(epoch, start)))


def same(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(regions_of(a.images).regions, regions_of(b.images).regions)
        and torch.equal(regions_of(a.images).lengths, regions_of(b.images).lengths)
        and torch.equal(a.texts.ids, b.texts.ids)
        and torch.equal(a.texts.lengths, b.texts.lengths)
        and (a.image_ids, a.caption_ids) == (b.image_ids, b.caption_ids)
    )


# Pairs


def test_a_batch_holds_matching_pairs(scan_folder: ScanFolder, split: Split) -> None:
    """Caption k of image i beside the features of image i, for every pair of an epoch."""
    for batch in TrainingBatches(split, 8, 1, Views()).epoch(0):
        images = regions_of(batch.images)
        assert images.regions.dtype == torch.float32 and batch.texts.ids.dtype == torch.int64
        for row, (image_id, caption_id) in enumerate(zip(batch.image_ids, batch.caption_ids, strict=True)):
            i = image_id - 100
            assert caption_id // PER_IMAGE == i
            np.testing.assert_array_equal(images.regions[row].numpy(), scan_folder.features["train"][i])
            words = batch.texts.ids[row, : batch.texts.lengths[row]].tolist()
            assert words == split.tokens.ids_of(caption_id).tolist() and words[0] == 1 and words[-1] == 2
            assert not batch.texts.ids[row, batch.texts.lengths[row] :].any()


def test_the_views_of_a_pair_lie_side_by_side(split: Split) -> None:
    for batch in TrainingBatches(split, 8, 1, Views(captions=3)).epoch(0):
        assert len(batch.texts.ids) == 24 and len(regions_of(batch.images).regions) == len(batch.caption_ids) == 8
        for row, caption_id in enumerate(batch.caption_ids):
            for view in range(3 * row, 3 * row + 3):
                assert (
                    batch.texts.ids[view, : batch.texts.lengths[view]].tolist()
                    == split.tokens.ids_of(caption_id).tolist()
                )


@pytest.mark.parametrize("size", [1, 8, 60, 179, 180])
def test_every_pair_comes_once_an_epoch_but_for_the_rest(split: Split, size: int) -> None:
    batches = list(TrainingBatches(split, size, 3, Views()).epoch(4))
    assert len(batches) == len(TrainingBatches(split, size, 3, Views())) == 180 // size
    assert {len(batch.caption_ids) for batch in batches} == {size}
    counts = Counter(ids_of(batches))
    assert len(counts) == 180 // size * size and set(counts.values()) == {1} and set(counts) <= set(range(180))


def test_another_rest_sits_out_each_epoch(split: Split) -> None:
    rests = [frozenset(range(180)) - set(epoch_ids(split, 1, epoch, size=50)) for epoch in range(3)]
    assert [len(rest) for rest in rests] == [30] * 3 and len(set(rests)) == 3


def test_a_batch_larger_than_the_split_is_an_error(split: Split) -> None:
    with pytest.raises(DataError, match=r"a batch of 181 pairs .* has 180; lower recipe\.batch_size"):
        TrainingBatches(split, 181, 1, Views())


# Order


def test_order_is_a_true_shuffle_of_the_split_not_of_shards(split: Split) -> None:
    order = np.array(epoch_ids(split, 1, 0, size=1))
    moved = np.abs(order - np.arange(180)).mean() / 180
    assert 0.27 < moved < 0.40  # 1/3 for a uniform permutation; a buffer or shard order keeps pairs near their place
    neighbours = np.abs(np.diff(order // PER_IMAGE))
    assert (neighbours == 0).sum() <= 6  # captions of one image adjacent: 2 of 179 by chance
    shards_of_batches = [len(set(order[i : i + 12] // (7 * PER_IMAGE))) for i in range(0, 180, 12)]
    assert min(shards_of_batches) >= 4  # of 9 shards; one or two if read shard by shard


def test_every_pair_can_come_at_every_place(split: Split) -> None:
    first = Counter(epoch_ids(split, 1, epoch, size=18)[0] // 18 for epoch in range(400))
    assert set(first) == set(range(10)) and max(first.values()) < 70 and min(first.values()) > 15


def test_order_follows_from_seed_and_epoch(split: Split) -> None:
    orders = {(seed, epoch): epoch_ids(split, seed, epoch) for seed in (1, 2) for epoch in (0, 1)}
    assert orders == {(seed, epoch): epoch_ids(split, seed, epoch) for seed, epoch in orders}
    assert len({tuple(order) for order in orders.values()}) == 4


VIEWS = Views(captions=2, touch=(TOKENS, token_ids(501)))


@pytest.mark.parametrize("start", [1, 2, 21, 22, 23])
def test_starting_at_a_step_gives_the_batches_that_skipping_gives(split: Split, start: int) -> None:
    split = dropping(split, 0.3)
    whole = list(TrainingBatches(split, 8, 1, VIEWS).epoch(5))
    rest = list(TrainingBatches(split, 8, 1, VIEWS).epoch(5, start))
    assert len(whole) == 22 and len(rest) == max(0, 22 - start)
    assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_views_are_drawn_anew_each_epoch_and_leave_the_split_as_it_is(split: Split) -> None:
    before = split.tokens.ids.tolist()
    batches = TrainingBatches(dropping(split, 0.3), 180, 1, VIEWS)
    seen = []
    for epoch in (0, 1, 0):
        (batch,) = batches.epoch(epoch)
        rows = np.argsort(batch.caption_ids)
        ids = batch.texts.ids.view(180, 2, -1)[rows]
        seen.append([ids[row, 0][ids[row, 0] > 0].tolist() for row in range(180)])
        assert (ids[:, 0] != ids[:, 1]).any(1).float().mean() > 0.5  # the two views of a pair are touched on their own
    assert seen[0] == seen[2] != seen[1]
    assert split.tokens.ids.tolist() == before


# The threads that work ahead


def test_only_a_few_batches_are_made_ahead(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    made_so_far: list[object] = []
    made_batch = split.images.training_batch

    def counted(rows: np.ndarray, rng: np.random.Generator) -> ImageBatch:
        made_so_far.append(rows)
        return made_batch(rows, rng)

    monkeypatch.setattr(split.images, "training_batch", counted)
    iterator = TrainingBatches(split, 2, 1, Views()).epoch(0)
    next(iterator)
    time.sleep(0.1)
    assert len(made_so_far) <= 3


def test_an_error_while_making_a_batch_reaches_the_training(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> ImageBatch:
        raise DataError("the disk is gone")

    monkeypatch.setattr(split.images, "training_batch", broken)
    with pytest.raises(DataError, match="the disk is gone"):
        next(TrainingBatches(split, 2, 1, Views()).epoch(0))


def test_an_epoch_left_early_leaves_no_thread(split: Split) -> None:
    before = set(threading.enumerate())
    batches = TrainingBatches(split, 2, 1, Views()).epoch(0)
    next(batches)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    batches.close()
    assert not own & set(threading.enumerate())


def test_batches_with_dropped_regions_are_what_the_plain_way_makes(scan_folder: ScanFolder, split: Split) -> None:
    """Whole batches, then regions taken out one by one, drawing as `keep_regions` documents."""
    for step, batch in enumerate(TrainingBatches(dropping(split, 0.6), 8, 3, Views()).epoch(2)):
        images = regions_of(batch.images)
        kept = np.random.default_rng([3, 2, step]).random((8, 6)) >= 0.6
        for row, image_id in enumerate(batch.image_ids):
            if not kept[row].any():
                continue  # one is drawn then: tested above
            expected = scan_folder.features["train"][image_id - 100][kept[row]]
            assert int(images.lengths[row]) == len(expected)
            np.testing.assert_array_equal(images.regions[row, : len(expected)].numpy(), expected)
            assert not images.regions[row, len(expected) :].any()
        assert images.regions.shape[1] == int(images.lengths.max())
