"""A batch computed part by part, with the loss and the gradients of the whole: gradients are cached in two passes (GradCache).

The first pass computes each part and keeps nothing for its backward pass; the loss is that of all parts. When its gradient comes
to a part, that is computed again, with the random numbers that it had, and its backward pass runs. Memory is that of one part.
Source: Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup (RepL4NLP 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")
R = TypeVar("R")


class _Mixes(Exception):
    """What is computed of one item depends on the others of its batch."""


class Parts:
    """How the functions of a method are applied to a batch.

    size: pairs of a part; None: batches are computed whole
    divided: name of a function → whether it can be, known once it was tried. Batch normalisation over a part would have other
        statistics: what has one is computed whole
    """

    def __init__(self, method: nn.Module) -> None:
        self.size: int | None = None
        self.divided: dict[str, bool] = {}
        self._normalising = [module for module in method.modules() if isinstance(module, _BatchNorm)]

    def statistics(self) -> list[Tensor]:
        """What a forward pass changes beside its result: running statistics of batch normalisation."""
        return [value for norm in self._normalising if norm.training for value in norm.buffers()]

    def of(
        self,
        name: str,
        function: Callable[[T], R],
        batch: T,
        cut: Callable[[T, slice], T],
        n: int,
        device: torch.device,
    ) -> list[R]:
        """The results for all parts, in order; one result where the batch is computed whole.

        name: of the function; cut: gives some of a batch's n items; device: where it computes
        """
        size = self.size or n
        if size >= n or not self.divided.get(name, True):
            return [function(batch)]
        parts = [cut(batch, slice(first, min(first + size, n))) for first in range(0, n, size)]
        if not torch.is_grad_enabled():
            return [function(part) for part in parts]
        if name not in self.divided and not self._divides(name, function, parts[0], device):
            return [function(batch)]
        return [_twice(partial(_uncached, function, part, device), device) for part in parts]

    def _divides(self, name: str, function: Callable[[T], R], part: T, device: torch.device) -> bool:
        """Try it with a part. Neither statistics nor random numbers change."""
        try:
            with _refusing(self._normalising), torch.no_grad(), _same_random_numbers(device):
                function(part)
            self.divided[name] = True
        except _Mixes:
            self.divided[name] = False
        return self.divided[name]


def _twice(function: Callable[[], R], device: torch.device) -> R:
    """The result, computed again in the backward pass."""
    # The empty tensor says which device's random numbers are to be kept.
    result: R = checkpoint(lambda _: function(), torch.empty(0, device=device), use_reentrant=False)
    return result


def _uncached(function: Callable[[T], R], part: T, device: torch.device) -> R:
    """The result for a part. Narrow copies of weights are not kept: parts that share one would sum its gradients in few digits."""
    kind, on = device.type, torch.is_autocast_enabled(device.type)
    with torch.autocast(kind, dtype=torch.get_autocast_dtype(kind), enabled=on, cache_enabled=False):
        return function(part)


@contextmanager
def _refusing(normalising: Sequence[nn.Module]) -> Iterator[None]:
    """`_Mixes` where one of the layers is about to use the statistics of what it is given."""

    def refuse(module: nn.Module, given: object) -> None:
        if module.training:
            raise _Mixes

    handles = [module.register_forward_pre_hook(refuse) for module in normalising]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _same_random_numbers(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
