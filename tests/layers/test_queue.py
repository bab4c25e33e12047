"""The queue of earlier pairs: a ring that begins empty."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.layers.queue import EMPTY, Queue


def pairs(ids: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors that say whose they are."""
    numbers = torch.tensor(ids)
    vectors = numbers[:, None].float().expand(-1, 2)
    return vectors, -vectors, numbers


def test_places_are_empty_until_filled_and_then_the_oldest_pair_goes() -> None:
    queue = Queue(5, 2)
    assert not queue.filled.any() and not queue.negative(torch.tensor([1])).any()
    contents = []
    for ids in ([1, 2], [3, 4], [5, 6], [7, 8]):
        queue.add(*pairs(ids))
        contents.append(queue.ids.tolist())
    assert contents == [[1, 2, *[EMPTY] * 3], [1, 2, 3, 4, EMPTY], [6, 2, 3, 4, 5], [6, 7, 8, 4, 5]]
    assert queue.images[:, 0].tolist() == [6, 7, 8, 4, 5] and queue.texts[:, 1].tolist() == [-6, -7, -8, -4, -5]


def test_of_a_batch_larger_than_the_queue_the_last_pairs_stay() -> None:
    queue = Queue(3, 2)
    queue.add(*pairs([1]))
    queue.add(*pairs([2, 3, 4, 5, 6]))
    assert sorted(queue.ids.tolist()) == [4, 5, 6]
    queue.add(*pairs([7]))
    assert sorted(queue.ids.tolist()) == [5, 6, 7]


@pytest.mark.parametrize("own", [1, -1, 0])
def test_a_pair_of_the_same_image_is_no_negative_whatever_its_number(own: int) -> None:
    queue = Queue(4, 2)
    queue.add(*pairs([own, 5, own]))
    assert queue.negative(torch.tensor([own, 5, 9])).tolist() == [
        [False, True, False, False], [True, False, True, False], [True, True, True, False],
    ]  # fmt: skip


def test_everything_in_it_is_state_and_nothing_is_learned() -> None:
    queue, again = Queue(4, 2), Queue(4, 2)
    queue.add(*pairs([1, 2, 3]))
    again.load_state_dict(queue.state_dict())
    for one in (queue, again):
        one.add(*pairs([4, 5]))
    assert again.ids.tolist() == queue.ids.tolist() == [5, 2, 3, 4]
    assert not list(queue.parameters())
