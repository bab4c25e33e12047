"""Encoded sets cut for dense products: those of one size together, in blocks of bounded memory, without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from itrcore.layers.encoded import Sets


def by_size(items: Sets) -> tuple[Sets, Tensor]:
    """The sets in the order of their sizes, and the place there of each given one, (n,) on their device."""
    order = items.lengths.argsort(stable=True)
    return items.take(order.numpy()), order.argsort().to(items.vectors.device)


def cut(items: Sets, rows: int) -> Iterator[Sets]:
    """Blocks of about `rows` rows at most, and of about as many each: a small one is slow for its size."""
    total = int(items.lengths.sum())
    size = math.ceil(total / math.ceil(total / rows))
    starts = items.lengths.cumsum(0) - items.lengths
    first = 0
    for count in torch.unique_consecutive(starts // size, return_counts=True)[1].tolist():
        yield items[first : first + count]
        first += count


def sizes_in_order(items: Sets) -> list[tuple[int, int]]:
    """(size, how many) of the sets of one size that follow each other."""
    sizes, counts = torch.unique_consecutive(items.lengths, return_counts=True)
    return list(zip(sizes.tolist(), counts.tolist(), strict=True))


def dense(items: Sets, count: int) -> Iterator[Tensor]:
    """Blocks of at most `count` sets of one size, (n, size, d). items: in the order of their sizes"""
    first = 0
    for size, same in sizes_in_order(items):
        block = items.vectors[first : first + size * same].view(same, size, -1)
        first += size * same
        yield from torch.split(block, count)
