"""Several processes that train together, each on its share of a batch: what they gather and sum, with gradients.

Alone, each function gives back what it was given. Gradients are those of the sum of all processes' losses. Each process computes
the loss of the whole batch, so that the mean of their gradients (`mean_gradients`) is the gradient of that loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function

from itrcore.errors import ITRError

_BUCKET = 2**24  # values that are summed at once


class LostProcess(ITRError):
    """One of the processes that train together has ended."""


def count() -> int:
    """How many there are; 1 where this one trains alone."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def number() -> int:
    """This one's, from 0. The first one writes files and talks."""
    return distributed.get_rank() if count() > 1 else 0


def share(n: int) -> slice:
    """This process's part of n things in order; the parts differ by one at most."""
    return slice(n * number() // count(), n * (number() + 1) // count())


def gather(rows: Tensor) -> Tensor:
    """The rows of all processes, in their order. rows: (n, …); n may differ between them → (sum of n, …)"""
    if count() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, [len(part) for part in gather_numbers(torch.empty(len(rows)))])  # type: ignore[no-untyped-call]
    return gathered


def gather_numbers(numbers: Tensor) -> list[Tensor]:
    """Numbers of each process, without gradients and without waiting for the device. numbers: (n,) on the CPU"""
    if count() == 1:
        return [numbers]
    with _noticing():
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(count())]
        distributed.all_gather(sizes, torch.tensor([len(numbers)]))
        longest = max(int(size) for size in sizes)
        padded = [numbers.new_zeros(longest) for _ in sizes]
        distributed.all_gather(padded, torch.cat([numbers, numbers.new_zeros(longest - len(numbers))]))
    return [part[: int(size)] for part, size in zip(padded, sizes, strict=True)]


def total(values: Tensor) -> Tensor:
    """The sum of all processes' values of one shape."""
    if count() == 1:
        return values
    summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return summed


@torch.no_grad()
def mean_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each parameter's gradient by the mean over all processes. The same parameters must have one in each."""
    if count() == 1:
        return
    waiting, size = list[Tensor](), 0
    for parameter in parameters:
        if parameter.grad is not None:
            waiting.append(parameter.grad)
            size += parameter.grad.numel()
        if size >= _BUCKET:
            _mean(waiting)
            waiting, size = [], 0
    if waiting:
        _mean(waiting)


def agreed(answer: bool) -> bool:
    """The first process's answer, in all of them."""
    return bool(gather_numbers(torch.tensor([float(answer)]))[0])


def wait() -> None:
    """Until all processes are here."""
    agreed(True)


def _mean(gradients: list[Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    with _noticing():
        distributed.all_reduce(flat)
    flat /= count()
    for gradient, part in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@contextmanager
def _noticing() -> Iterator[None]:
    """Of the group's errors, all mean that another process is gone: this one's own would have come before."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess("another process of this training has ended; run it again to go on") from error


class _Gather(Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, counts: list[int]) -> Tensor:
        context.counts = counts
        parts = [rows.new_empty(max(counts), *rows.shape[1:]) for _ in counts]
        parts[number()][: len(rows)] = rows
        with _noticing():
            distributed.all_gather(parts, parts[number()].clone())
        return torch.cat([part[:size] for part, size in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed, before = gradient.clone(memory_format=torch.contiguous_format), sum(context.counts[: number()])
        with _noticing():
            distributed.all_reduce(summed)
        return summed[before : before + context.counts[number()]], None


class _Total(Function):
    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    summed = values.clone(memory_format=torch.contiguous_format)
    with _noticing():
        distributed.all_reduce(summed)
    return summed
