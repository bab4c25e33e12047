"""Stacked cross attention of words and regions, for all pairs of two dense blocks (SCAN, ECCV 2018; SGRAF and LHSC).

One side's items, the queries, each attend to all of the other's: LeakyReLU of their products, l2 over the queries, softmax
over what is attended to. What they attend to, a weighted sum of unit vectors, is never made here: its product with the
query and its length follow from the weights, the products and the other side's products among themselves (`gram`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = 0.1  # of LeakyReLU below 0
EPSILON = 1e-8  # added to norms
_SQUARED = 1e-30  # the least square of a norm: at 0 a root's gradient would not be a number

Direction = Literal["t2i", "i2t"]  # words attend to regions, or regions to words


@dataclass(frozen=True)
class Attended:
    """attn, weights: (m, q, n, r), of m captions of q words and n images of r regions; weights sum to 1 over `context`, the
    dimension of what is attended to

    norms: of what each query attends to, (m, q, n) from words, (m, n, r) from regions
    """

    attn: Tensor
    weights: Tensor
    norms: Tensor
    context: int

    @property
    def products(self) -> Tensor:
        """Inner product of each query with what it attends to, of the shape of `norms`."""
        return (self.weights * self.attn).sum(self.context)


def attend(attn: Tensor, gram: Tensor, direction: Direction, scale: float) -> Attended:
    """attn: (m, q, n, r) products of words and regions.

    gram: products of what is attended to among itself: t2i (n, r, r), i2t (m, q, q)
    scale: of the softmax
    """
    words, regions = 1, 3
    queries, context = (words, regions) if direction == "t2i" else (regions, words)
    weights = attention_weights(attn, queries, context, scale)
    if direction == "t2i":
        # As many rows as words, for each image.
        rows = weights.flatten(0, 1).transpose(0, 1)
        squares = (torch.bmm(rows, gram) * rows).sum(-1).T.view(attn.shape[:3])
    else:
        columns = weights.flatten(2)
        squares = (torch.bmm(gram, columns) * columns).sum(1).view(attn.shape[0], *attn.shape[2:])
    return Attended(attn, weights, squares.clamp(min=EPSILON**2).sqrt(), context)


def attention_weights(attn: Tensor, queries: int, context: int, scale: float) -> Tensor:
    """Softmax over what each query attends to, of the shape of attn. queries, context: the dimensions of attn that those are in"""
    gate = functional.leaky_relu(attn, SLOPE)
    # Fifty times as fast as `vector_norm`, along a dimension that is not the last.
    norms = gate.square().sum(queries, keepdim=True).clamp(min=_SQUARED).sqrt()
    return torch.softmax(gate * (scale / (norms + EPSILON)), dim=context)


def gram(sets: Tensor) -> Tensor:
    """Products of each set's items among themselves. sets: (n, k, d) → (n, k, k)"""
    return torch.bmm(sets, sets.transpose(1, 2))
