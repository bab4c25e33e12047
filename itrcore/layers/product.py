"""Matrix products at the machine's full speed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

ROWS = 64  # a matrix whose rows are a multiple of this is never copied first

_LEAST_ROWS = 256  # with fewer the convolution is not worth its overhead
_CHUNKS = 64, 32, 16  # rows that the convolution takes as one picture
_LEAST_CHUNKS = 16  # with fewer torch does not use oneDNN in a process of one thread


def narrow_type(device: torch.device) -> torch.dtype | None:
    """What the factors of large products are rounded to: bf16 in a training under mixed precision. None: scores are ranked."""
    narrow = torch.is_grad_enabled() and device.type != "meta" and torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if narrow else None


def narrow_matmul(a: Tensor, b: Tensor, narrow: torch.dtype | None) -> Tensor:
    """`a @ b`, (…, n, d) and (…, d, m), of two or three dimensions. narrow: as `product`"""
    if narrow is None:
        return a @ b
    made: Tensor = _Narrow.apply(a, b, narrow)  # type: ignore[no-untyped-call]
    return made


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, narrow: torch.dtype | None = None) -> Tensor:
    """`a @ b.T + bias`. a: (n, d); b: (m, d); bias: (m,) → (n, m). Full speed needs a few hundred rows of both.

    narrow: a and b, and what flows back, are rounded to this type; sums and results are float32
    In float32 on a CPU it is a 1 × 1 convolution: torch gives these to oneDNN, which on an AMD processor with AVX-512 is
    twice as fast as MKL, the library with which torch multiplies matrices.
    """
    if narrow is not None:
        made = narrow_matmul(a, b.T, narrow)
        return made if bias is None else made + bias
    convolved = a.device.type == "cpu" and a.dtype == torch.float32 and len(a) >= _LEAST_ROWS
    if not convolved or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return functional.linear(a, b, bias)
    allowed = [chunk for chunk in _CHUNKS if len(a) >= chunk * _LEAST_CHUNKS]
    chunk = next((chunk for chunk in allowed if len(a) % chunk == 0), allowed[0])
    rest = -len(a) % chunk
    padded = functional.pad(a, (0, 0, 0, rest)) if rest else a
    pixels = padded.view(-1, 1, chunk, a.shape[1]).permute(0, 3, 1, 2)
    out = functional.conv2d(pixels, b[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(len(padded), len(b))[: len(a)]


class _Narrow(Function):
    """A product of rounded factors. Its result is not rounded: that would change scores more than the factors do."""

    @staticmethod
    def forward(context: Any, a: Tensor, b: Tensor, narrow: torch.dtype) -> Tensor:
        a, b = a.to(narrow), b.to(narrow)
        context.save_for_backward(a, b)
        return _matmul(a, b)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = context.saved_tensors
        gradient = gradient.to(a.dtype)
        return _matmul(gradient, b.mT), _matmul(a.mT, gradient), None


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    """Of narrow factors, in float32. A CPU has no such product; float32 ones of rounded factors give the same."""
    if a.device.type == "cpu":
        return a.float() @ b.float()
    multiplied: Any = torch.mm if a.dim() == 2 else torch.bmm
    result: Tensor = multiplied(a, b, out_dtype=torch.float32)
    return result
