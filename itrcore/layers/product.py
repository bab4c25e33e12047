"""Matrix products at the machine's full speed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional

from itrcore.layers.basics import widened

ROWS = 64  # a matrix whose rows are a multiple of this is never copied first

_LEAST_ROWS = 256  # with fewer the convolution is not worth its overhead
_CHUNKS = 64, 32, 16  # rows that the convolution takes as one picture
_LEAST_CHUNKS = 16  # with fewer torch does not use oneDNN in a process of one thread


def wide_to_rank(device: torch.device) -> AbstractContextManager[object]:
    """Without mixed precision where scores are ranked. A training keeps it: its products are narrow, their results are not."""
    return nullcontext() if torch.is_grad_enabled() else torch.autocast(device.type, enabled=False)


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a @ b.T + bias`. a: (n, d); b: (m, d); bias: (m,) → (n, m). Full speed needs a few hundred rows of both.

    Under mixed precision a and b are rounded to bf16; the sums are in float32, and the result is float32 again.
    In float32 on a CPU it is a 1 × 1 convolution: torch gives these to oneDNN, which on an AMD processor with AVX-512 is
    twice as fast as MKL, the library with which torch multiplies matrices.
    """
    convolved = a.device.type == "cpu" and a.dtype == torch.float32 and len(a) >= _LEAST_ROWS
    if not convolved or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return widened(functional.linear(a, b, bias))
    allowed = [chunk for chunk in _CHUNKS if len(a) >= chunk * _LEAST_CHUNKS]
    chunk = next((chunk for chunk in allowed if len(a) % chunk == 0), allowed[0])
    rest = -len(a) % chunk
    padded = functional.pad(a, (0, 0, 0, rest)) if rest else a
    pixels = padded.view(-1, 1, chunk, a.shape[1]).permute(0, 3, 1, 2)
    out = functional.conv2d(pixels, b[:, :, None, None], bias)
    return widened(out.permute(0, 2, 3, 1).reshape(len(padded), len(b))[: len(a)])
