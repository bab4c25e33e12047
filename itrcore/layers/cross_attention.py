"""Stacked cross attention of words and regions, for all pairs of two dense blocks (SCAN, ECCV 2018; SGRAF and LHSC).

Each query, an item of one side, attends to all items of the other, the context: LeakyReLU of their products, l2 over the
queries, softmax over the context. The attended vector, a weighted sum of the context, is never made here: its product with
the query and its length follow from the weights, the products, and the context's products with itself (`gram`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

SLOPE = 0.1  # of LeakyReLU below 0
EPSILON = 1e-8  # added to norms
_LEAST_SQUARE = 1e-30  # of a norm: at 0 the gradient of a root is not a number

Direction = Literal["t2i", "i2t"]  # words attend to regions, or regions to words


@dataclass(frozen=True)
class Attended:
    """What the queries of m captions of q words and n images of r regions attend to.

    attn, weights: (m, q, n, r); weights sum to 1 over dimension `context`
    norms: lengths of the attended vectors, (m, q, n) where words are the queries, (m, n, r) where regions are
    """

    attn: Tensor
    weights: Tensor
    norms: Tensor
    context: int

    @property
    def products(self) -> Tensor:
        """Inner product of each query with its attended vector, of the shape of `norms`."""
        return (self.weights * self.attn).sum(self.context)


def attend(attn: Tensor, gram: Tensor, direction: Direction, scale: float) -> Attended:
    """Attention in one direction between m captions and n images.

    attn: (m, q, n, r), products of words and regions
    gram: the context's products with itself: t2i (n, r, r), i2t (m, q, q); scale: of the softmax
    """
    words, regions = 1, 3
    queries, context = (words, regions) if direction == "t2i" else (regions, words)
    weights = attention_weights(attn, queries, context, scale)
    if direction == "t2i":
        # For each image a row for each word.
        rows = weights.flatten(0, 1).transpose(0, 1)
        squares = (torch.bmm(rows, gram) * rows).sum(-1).T.view(attn.shape[:3])
    else:
        columns = weights.flatten(2)
        squares = (torch.bmm(gram, columns) * columns).sum(1).view(attn.shape[0], *attn.shape[2:])
    return Attended(attn, weights, squares.clamp(min=EPSILON**2).sqrt(), context)


def attention_weights(attn: Tensor, queries: int, context: int, scale: float) -> Tensor:
    """Softmax of attn over the context, of the same shape. queries, context: their dimensions in attn; scale: of the softmax"""
    gate = functional.leaky_relu(attn, SLOPE)
    # Along a dimension that is not the last, this is fifty times as fast as `vector_norm`.
    norms = gate.square().sum(queries, keepdim=True).clamp(min=_LEAST_SQUARE).sqrt()
    return torch.softmax(gate * (scale / (norms + EPSILON)), dim=context)


def gram(sets: Tensor) -> Tensor:
    """Inner products of all items of each set with each other. sets: (n, k, d) → (n, k, k)"""
    return torch.bmm(sets, sets.transpose(1, 2))
