"""What torch does while something is computed: multiply-adds of its products, and seconds of its operations by part."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import itrcore.layers
import itrcore.methods

WATCHED = [Path(room.__path__[0]) for room in (itrcore.layers, itrcore.methods)]
PASSED = {"product"}  # functions that say how something is computed, not what


@dataclass(frozen=True)
class Operations:
    """multiply_adds: of all matrix products and convolutions, what is padded included

    seconds: by where they were spent. A product with a layer's weights counts to that layer, such as `measure.local`; any
        other operation to the innermost function of itrcore.layers or itrcore.methods, as `scan._scores, products` or
        `scan._scores, rest`
    """

    multiply_adds: int
    seconds: dict[str, float]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation. torch's own FlopCounterMode fails on modules in inference mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers = {_memory(value): name.rpartition(".")[0] for name, value in model.named_parameters()}
        self.whole: set[Any] = set()  # operations that do not consist of others
        self.multiply_adds = 0
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flops = flop_registry.get(func.overloadpacket)
        if flops is None and func not in self.whole:
            with self:  # linear, matmul and the like consist of others
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
            self.whole.add(func)
        started = time.perf_counter()
        result = func(*args, **kwargs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        if flops is None:
            self.seconds[f"{caller()}, rest"] += seconds
        else:
            self.seconds[self.layer(args) or f"{caller()}, products"] += seconds
            self.multiply_adds += flops(*args, **kwargs, out_val=result) // 2
        return result

    def layer(self, args: tuple[Any, ...]) -> str | None:
        """The layer whose weights are multiplied with, if they are one's."""
        names = (self.layers.get(_memory(value)) for value in args if isinstance(value, Tensor))
        return next((name for name in names if name), None)


def _memory(value: Tensor) -> int:
    """Where it lies: the same for all views of it."""
    return value.untyped_storage().data_ptr()


def caller() -> str:
    """The innermost function of itrcore.layers and itrcore.methods at work, such as `scan._scores`."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if name := _function(frame.f_code):
            return name
        frame = frame.f_back
    return "elsewhere"


@cache
def _function(code: CodeType) -> str | None:
    path = Path(code.co_filename)
    if code.co_name in PASSED or not any(path.is_relative_to(folder) for folder in WATCHED):
        return None
    return f"{path.stem}.{code.co_qualname.split('.<locals>')[0]}"


def watch(work: Callable[[], Any], model: nn.Module) -> Operations:
    """Do the work once and watch it. That takes longer, above all the first time; the operations do not."""
    with _Watch(model) as seen:
        work()
    return Operations(seen.multiply_adds, dict(seen.seconds))
