"""Parts of a training's step that torch.compile makes into few large kernels, where the settings ask for it.

A part has tensors of any sizes, and constants; a break in its graph is an error. Between the parts stands what cannot be compiled
or gains nothing by it: recurrent kernels, large matrix products, and packing sets by their lengths, which change with each batch.
Evaluation compiles nothing: the same weights have the same scores, however they were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from itrcore.errors import TrainingError

P = ParamSpec("P")
R = TypeVar("R")

_made: dict[Callable[..., object], Callable[..., object]] = {}  # the compiled form of each part
_on = False


def compilable(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled while `compiling` and gradients are on."""

    @wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        if not _on or not torch.is_grad_enabled():
            return function(*arguments, **named)
        if function not in _made:  # when it is first called: what torch.compile needs takes seconds to import
            _made[function] = torch.compile(function, fullgraph=True, dynamic=True)
        return _made[function](*arguments, **named)  # type: ignore[return-value]

    return called


@contextmanager
def compiling(on: bool) -> Iterator[None]:
    """Whether parts are compiled meanwhile. `TrainingError` where torch cannot compile one."""
    global _on
    if not on:
        yield
        return
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException
    from torch.fx.experimental import _config as shapes

    _on = True
    try:
        # Sizes that are equal by chance, as many words as regions, get no code of their own. A size of 1 does, in each dimension.
        with config.patch(recompile_limit=64), shapes.patch(use_duck_shape=False):
            yield
    except TorchDynamoException as error:
        raise TrainingError(
            f"torch.compile failed: {' '.join(str(error).split()[:40])}. It needs a C++ compiler on a CPU, Triton and a C "
            "compiler on a GPU. Set training.compile to false, or install what is missing."
        ) from error
    finally:
        _on = False
