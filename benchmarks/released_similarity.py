"""Similarities as the released codes state them, plainly: one caption after the other against all images.

A caption's words are repeated for every image, and whatever follows is done once more for each pair. Layers are those of
our methods, so that both ways compute with the same weights. In evaluation mode, images of one number of regions.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from itrcore.layers.encoded import Sets
from itrcore.methods.esl.word_region import WordRegionMeasure

SLOPE = 0.1  # of LeakyReLU below 0
EPSILON = 1e-8


def unit(x: Tensor) -> Tensor:
    """Unit length along the last axis."""
    return x / (x.pow(2).sum(-1, keepdim=True).sqrt() + EPSILON)


def sets(texts: Sets) -> tuple[Tensor, ...]:
    """Each caption's vectors, (its length, d)."""
    return torch.split(texts.vectors, texts.lengths.tolist())


def attended(queries: Tensor, contexts: Tensor, scale: float) -> Tensor:
    """What each query makes of its contexts: products below 0 weakened, unit length over queries, softmax over contexts.

    queries: (n, q, d); contexts: (n, c, d) → (n, q, d). Source: SCAN, `func_attention` with clipped_l2norm.
    """
    raw = functional.leaky_relu(torch.bmm(contexts, queries.transpose(1, 2)), SLOPE)
    weights = torch.softmax(unit(raw).transpose(1, 2).contiguous() * scale, dim=2)
    return torch.bmm(contexts.transpose(1, 2), weights.transpose(1, 2).contiguous()).transpose(1, 2)


def scan(
    images: Tensor, texts: Sets, direction: Literal["t2i", "i2t"], softmax_scale: float, lse_scale: float
) -> Tensor:
    """SCAN with LogSumExp pooling, (n, n_texts). images: (n, r, d) regions; texts: words."""
    columns = []
    for caption in sets(texts):
        words = caption.repeat(len(images), 1, 1)
        queries, contexts = (words, images) if direction == "t2i" else (images, words)
        seen = attended(queries, contexts, softmax_scale)
        lengths = (queries.norm(dim=2) * seen.norm(dim=2)).clamp(min=EPSILON)
        cosines = (queries * seen).sum(2) / lengths
        columns.append((cosines * lse_scale).exp().sum(1, keepdim=True).log() / lse_scale)
    return torch.cat(columns, dim=1)


def reasoned(alignments: Tensor, steps: Any) -> Tensor:
    """SGR: alignments (n, m, k) look at each other step by step; what the first became, (n, k)."""
    for step in steps:
        edges = torch.softmax(torch.bmm(step.query(alignments), step.key(alignments).transpose(1, 2)), dim=-1)
        alignments = torch.relu(step.out(torch.bmm(edges, alignments)))
    return alignments[:, 0]


def filtered(alignments: Tensor, filtration: Any) -> Tensor:
    """SAF: alignments (n, m, k), each weighed by itself → their unit sum, (n, k)."""
    gates = torch.sigmoid(filtration.norm(filtration.weights(alignments).transpose(1, 2)))
    gates = gates / (gates.abs().sum(-1, keepdim=True) + EPSILON)
    return unit(torch.matmul(gates, alignments).squeeze(1))


def alignment(measure: Any, images: Tensor, texts: Sets, softmax_scale: float) -> Tensor:
    """SGRAF and LHSC, (n, n_texts): a vector of alignment per word and one of the whole pair, then SGR or SAF.

    images: (n, 1 + r, d); texts: likewise; the first of a set is the whole image's or caption's vector
    """
    columns = []
    for caption in sets(texts):
        words = caption[1:].repeat(len(images), 1, 1)
        seen = unit(attended(words, images[:, 1:], softmax_scale))
        local = unit(measure.local((seen - words).pow(2)))
        whole = unit(measure.whole((images[:, 0] - caption[0]).pow(2)))
        alignments = torch.cat([whole[:, None], local], dim=1)
        reasoning = getattr(measure, "reasoning", None)
        joined = reasoned(alignments, reasoning) if reasoning else filtered(alignments, measure.filtration)
        columns.append(torch.sigmoid(measure.score(joined)))
    return torch.cat(columns, dim=1)


def esl(measure: WordRegionMeasure, images: Tensor, texts: Sets) -> Tensor:
    """ESL: each level projected, and two softmaxes, (n, n_texts). images: (n, r, Σ n_l) levels of regions; texts: of words."""
    smooth, matrices = measure.log_smooth.exp(), measure.matrices()
    regions = torch.split(images, measure.sizes, dim=-1)

    def weighted(attn: Tensor) -> Tensor:
        gate = unit(functional.leaky_relu(attn.tanh().transpose(1, 2).contiguous(), SLOPE))
        weights = torch.softmax(gate.transpose(1, 2).contiguous() * smooth, dim=2)
        return (attn * weights).sum(-1).mean(1, keepdim=True)

    columns = []
    for words in sets(texts):
        repeated = [level[None].repeat(len(images), 1, 1) for level in torch.split(words, measure.sizes, dim=-1)]
        products = [x @ d @ y.transpose(1, 2) for x, d, y in zip(repeated, matrices, regions, strict=True)]
        attn = torch.stack(products).sum(0)
        columns.append(weighted(attn) + weighted(attn.transpose(1, 2).contiguous()))
    return torch.cat(columns, dim=1)
