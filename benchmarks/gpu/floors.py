"""The arithmetic floor of scoring: multiplications that no way of computing a method's similarities can spare.

Only matrix products count: what is done element by element takes time too, but hardly any of a GPU's arithmetic.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.watching import wait
from itrcore.layers.encoded import Encoded, Sets
from itrcore.settings.methods import MethodSettings


@dataclass(frozen=True)
class Floor:
    """Multiplications, and the formula that they follow from."""

    multiplications: float
    formula: str


def floor(settings: MethodSettings, images: Encoded, texts: Encoded) -> Floor:
    """Of scoring all pairs of two encoded sides, whose lengths alone matter."""
    model = settings.model
    width = texts.vectors.shape[1]
    if not isinstance(images, Sets) or not isinstance(texts, Sets):
        return Floor(float(len(images) * len(texts) * width), "n · m · d")
    regions, words = images.lengths.double(), texts.lengths.double()
    if model.kind == "scan":
        return _scan(model.direction, regions, words, width)
    if model.kind in ("sgraf", "lhsc"):
        module = getattr(model, "module", None)
        steps = module.steps if module is not None and module.kind == "sgr" else 0
        # The first of each set is the whole image's or caption's vector.
        return _alignment(regions - 1, words - 1, width, model.alignment_dim, steps)
    return Floor(float(words.sum() * regions.sum()) * width, "Σ w · Σ r · d")


def _scan(direction: str, regions: Tensor, words: Tensor, d: int) -> Floor:
    """Products of words and regions, and lengths of attended vectors through the products of the context with itself."""
    r, w = regions.sum(), words.sum()
    attention = r * w * d
    if direction == "t2i":
        lengths, own = w * regions.square().sum(), regions.square().sum() * d
        return Floor(float(attention + lengths + own), "Σ w · Σ r · d + Σ w · Σ r² + Σ r² · d")
    lengths, own = r * words.square().sum(), words.square().sum() * d
    return Floor(float(attention + lengths + own), "Σ w · Σ r · d + Σ r · Σ w² + Σ w² · d")


def _alignment(regions: Tensor, words: Tensor, d: int, size: int, steps: int) -> Floor:
    """Attention, the attended vectors, a projection of each word's and each pair's difference, then SGR or SAF."""
    n, m = len(regions), len(words)
    r, w, squares = regions.sum(), words.sum(), regions.square().sum()
    pairs = n * m
    nodes, edges = n * (words + 1).sum(), n * (words + 1).square().sum()
    total = 2 * r * w * d + w * squares + squares * d + nodes * d * size + pairs * size
    formula = "2 · Σ w · Σ r · d + Σ w · Σ r² + Σ r² · d + n · Σ (w + 1) · d · s + n · m · s"
    if steps == 0:
        return Floor(float(total + 2 * nodes * size), f"{formula} + 2 · n · Σ (w + 1) · s")
    total += (steps - 1) * (2 * nodes * size**2 + 2 * edges * size) + 2 * pairs * size**2 + 2 * nodes * size
    return Floor(
        float(total),
        f"{formula} + {steps - 1} · (2 · n · Σ (w + 1) · s² + 2 · n · Σ (w + 1)² · s) + 2 · n · m · s² + 2 · n · Σ (w + 1) · s",
    )


def product_rate(device: torch.device, side: int, times: int = 5) -> float:
    """Multiplications a second of the product of two square matrices, in the precision that torch computes in now."""
    a, b = torch.randn(2, side, side, device=device)
    a @ b
    wait(device)
    started = time.perf_counter()
    for _ in range(times):
        a @ b
    wait(device)
    return times * side**3 / (time.perf_counter() - started)
