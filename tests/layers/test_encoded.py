"""Encoded items: vectors, and packed sets, against a plain list of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from itrcore.layers.encoded import Sets, Vectors

LENGTHS = [3, 1, 5, 2, 5, 1]


def sets(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 4, generator=generator) for length in lengths]


def packed(items: Sequence[Tensor]) -> Sets:
    return Sets(torch.cat(list(items)), torch.tensor([len(item) for item in items]))


def assert_holds(encoded: Sets, items: Sequence[Tensor]) -> None:
    """Exactly these sets, in this order."""
    assert encoded.lengths.dtype == torch.int64
    assert len(encoded) == len(items)
    assert encoded.lengths.tolist() == [len(item) for item in items]
    assert torch.equal(encoded.vectors, torch.cat([torch.empty(0, 4), *items]))


@pytest.mark.parametrize("longest", [5, 8])
def test_padded_sets_are_packed_whatever_their_padding_holds(longest: int) -> None:
    items = sets()
    padded = torch.full((len(items), longest, 4), float("nan"))
    for row, item in enumerate(items):
        padded[row, : len(item)] = item
    assert_holds(Sets.pack(padded, torch.tensor(LENGTHS)), items)


def test_packing_passes_gradients_to_the_items_alone() -> None:
    padded = torch.ones(2, 3, 4, requires_grad=True)
    (Sets.pack(padded, torch.tensor([1, 3])).vectors * 2).sum().backward()  # type: ignore[no-untyped-call]
    assert padded.grad is not None
    assert padded.grad[..., 0].tolist() == [[2, 0, 0], [2, 2, 2]]


@pytest.mark.parametrize("start", [None, 0, 1, 4, 6, 9, -2])
@pytest.mark.parametrize("stop", [None, 0, 1, 3, 6, 100, -1])
def test_a_slice_is_that_of_a_list(start: int | None, stop: int | None) -> None:
    items, block = sets(), slice(start, stop)
    assert_holds(packed(items)[block], items[block])
    vectors = torch.cat(items)
    assert torch.equal(Vectors(vectors)[block].vectors, vectors[block])


def test_a_slice_of_a_slice_counts_from_its_own_start() -> None:
    assert_holds(packed(sets())[1:5][2:4], sets()[3:5])


def test_a_slice_that_leaves_items_out_or_turns_them_round_is_refused() -> None:
    for block in (slice(None, None, 2), slice(None, None, -1)):
        with pytest.raises(ValueError, match="consecutive items"):
            packed(sets())[block]


@pytest.mark.parametrize("rows", [[5, 0, 2], [2, 2, 2, 1], [4], [], [0, 1, 2, 3, 4, 5]])
def test_items_are_taken_in_the_order_asked_for(rows: list[int]) -> None:
    items, wanted = sets(), np.array(rows, np.int64)
    assert_holds(packed(items).take(wanted), [items[row] for row in rows])
    vectors = torch.randn(6, 4)
    assert torch.equal(Vectors(vectors).take(wanted).vectors, vectors[rows])


def test_taking_a_part_of_a_part_and_putting_an_order_back_lose_nothing() -> None:
    items = sets([int(length) for length in np.random.default_rng(0).integers(1, 9, 40)])
    order = np.random.default_rng(1).permutation(40)
    assert_holds(packed(items).take(order).take(np.argsort(order)), items)
    assert_holds(packed(items).take(order)[10:20], [items[row] for row in order[10:20]])


def test_blocks_are_joined_one_after_the_other() -> None:
    items = sets()
    assert_holds(Sets.join([packed(items[:1]), packed(items[1:4]), packed(items[4:])]), items)
    vectors = torch.randn(5, 4)
    joined = Vectors.join([Vectors(vectors[:2]), Vectors(vectors[2:])])
    assert len(joined) == 5
    assert torch.equal(joined.vectors, vectors)
