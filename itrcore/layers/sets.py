"""Encoded sets cut for dense products: sets of one size together, in blocks of bounded memory, without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from itrcore.layers.basics import send
from itrcore.layers.encoded import Sets


def by_size(items: Sets) -> tuple[Sets, Tensor]:
    """The sets in the order of their sizes, and where each of the given ones is now, (n,) on their device."""
    order = items.lengths.argsort(stable=True)
    return items.take(order.numpy()), send(order.argsort(), items.vectors.device)


def cut(items: Sets, rows: int) -> Iterator[Sets]:
    """Cut into blocks of about the same number of rows, about `rows` at most: a small block would be slow for its size."""
    total = int(items.lengths.sum())
    size = math.ceil(total / math.ceil(total / rows))
    starts = items.lengths.cumsum(0) - items.lengths
    first = 0
    for count in torch.unique_consecutive(starts // size, return_counts=True)[1].tolist():
        yield items[first : first + count]
        first += count


def sizes_in_order(items: Sets) -> list[tuple[int, int]]:
    """(size, how many) for each run of consecutive sets of one size."""
    sizes, counts = torch.unique_consecutive(items.lengths, return_counts=True)
    return list(zip(sizes.tolist(), counts.tolist(), strict=True))


def dense(items: Sets, count: int) -> Iterator[Tensor]:
    """Blocks of at most `count` sets of one size, (n, size, d). items: in the order of their sizes"""
    first = 0
    for size, n_sets in sizes_in_order(items):
        block = items.vectors[first : first + size * n_sets].view(n_sets, size, -1)
        first += size * n_sets
        yield from torch.split(block, count)
