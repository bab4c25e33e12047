"""Encoded sets cut into blocks: nothing lost, nothing moved, no block too large."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import torch

from itrcore.layers.encoded import Sets
from itrcore.layers.sets import by_size, cut, dense, sizes_in_order

ALL_SIZES = [
    [int(size) for size in np.random.default_rng(seed).integers(1, most, count)]
    for seed, most, count in ((0, 9, 40), (1, 2, 7), (2, 60, 25), (3, 3, 1))
]
EACH = pytest.mark.parametrize("sizes", ALL_SIZES, ids=lambda sizes: f"{len(sizes)} of at most {max(sizes)}")


def numbered(sizes: list[int]) -> Sets:
    """Each row holds its set's number and its place in it."""
    rows = [(number, place) for number, size in enumerate(sizes) for place in range(size)]
    return Sets(torch.tensor(rows, dtype=torch.float32), torch.tensor(sizes))


def assert_same(one: Sets, other: Sets) -> None:
    assert one.lengths.tolist() == other.lengths.tolist()
    assert torch.equal(one.vectors, other.vectors)


@EACH
def test_sets_in_the_order_of_their_sizes_and_the_way_back(sizes: list[int]) -> None:
    items = numbered(sizes)
    ordered, places = by_size(items)
    assert ordered.lengths.tolist() == sorted(sizes)
    assert_same(ordered.take(places.numpy()), items)


@EACH
@pytest.mark.parametrize("rows", [1, 8, 50, 100_000])
def test_blocks_hold_all_sets_in_order_evenly_and_within_their_bound(sizes: list[int], rows: int) -> None:
    items = numbered(sizes)
    blocks = list(cut(items, rows))
    assert_same(Sets.join(blocks), items)
    held = [len(block.vectors) for block in blocks]
    assert min(held) > 0
    assert max(held) < rows + max(sizes)  # a set is not cut in two
    assert len(blocks) <= -(-sum(sizes) // rows)
    if rows >= 8 * max(sizes):
        assert max(held) - min(held) <= 2 * max(sizes)


def test_a_rest_is_spread_over_all_blocks() -> None:
    assert [len(block) for block in cut(numbered([5] * 100), 100)] == [20] * 5
    assert [len(block) for block in cut(numbered([5] * 101), 100)] == [17] * 5 + [16]  # not a block of one set


@EACH
def test_sizes_in_order_are_of_sets_of_one_size_that_follow_each_other(sizes: list[int]) -> None:
    assert sizes_in_order(numbered(sizes)) == [(size, len(list(group))) for size, group in groupby(sizes)]


@EACH
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_dense_blocks_hold_all_sets_in_order_without_padding(sizes: list[int], count: int) -> None:
    ordered, _ = by_size(numbered(sizes))
    blocks = list(dense(ordered, count))
    assert torch.equal(torch.cat([block.flatten(0, 1) for block in blocks]), ordered.vectors)
    assert [size for block in blocks for size in [block.shape[1]] * len(block)] == sorted(sizes)
    assert max(len(block) for block in blocks) <= count
    assert len(blocks) == sum(-(-sizes.count(size) // count) for size in set(sizes))
