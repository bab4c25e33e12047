"""SCAN's, SGRAF's and LHSC's similarities as their papers and released codes state them: pair by pair, vector by vector.

Weights are those of a state dict, by name. Also the sets of vectors that several test files compare them on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from itrcore.layers.encoded import Sets

Weights = Mapping[str, Tensor]
PlainSets = Sequence[Tensor]  # of each item (k, d)

CASES = [  # numbers of regions of the images, numbers of words of the captions
    ([5, 5, 5], [4, 4, 4]),
    ([3, 1, 7, 2, 7, 1], [6, 1, 20, 3, 6, 2, 9, 3]),
    ([1], [1]),
    ([4], [2, 5, 1]),
    ([3] * 20 + [2], [3]),
    ([6, 2, 36], list(range(20, 0, -1))),
]


def unit(vector: Tensor) -> Tensor:
    return vector / (vector.square().sum().sqrt() + 1e-8)


def make_sets(lengths: Sequence[int], width: int, seed: int, kind: torch.dtype = torch.float64) -> list[Tensor]:
    """A set of random unit vectors for each item."""
    generator = torch.Generator().manual_seed(seed)
    values = [torch.randn(length, width, dtype=torch.float64, generator=generator) for length in lengths]
    return [(item / item.norm(dim=1, keepdim=True)).to(kind) for item in values]


def packed(items: PlainSets) -> Sets:
    return Sets(torch.cat(list(items)), torch.tensor([len(item) for item in items]))


def attention(queries: Tensor, context: Tensor, scale: float) -> Tensor:
    """(queries, context): LeakyReLU of products, l2 over the queries, softmax over what they attend to."""
    columns = []
    for attended in context:
        products = [query @ attended for query in queries]
        columns.append(unit(torch.stack([p if p > 0 else 0.1 * p for p in products])))
    rows = torch.stack(columns, dim=1)
    return torch.stack([(scale * row).exp() / (scale * row).exp().sum() for row in rows])


def attended(queries: Tensor, context: Tensor, scale: float) -> list[Tensor]:
    """The weighted sum that each query attends to."""
    weights = attention(queries, context, scale)
    return [sum((w * c for w, c in zip(row, context, strict=True)), torch.zeros_like(context[0])) for row in weights]


def scan(images: PlainSets, captions: PlainSets, direction: str, scale: float, lse: float | None) -> Tensor:
    """SCAN. lse: the scale of LogSumExp; None: the mean"""

    def pair(image: Tensor, caption: Tensor) -> Tensor:
        queries, context = (caption, image) if direction == "t2i" else (image, caption)
        cosines = torch.stack(
            [
                (query @ vector) / (query.square().sum().sqrt() * vector.square().sum().sqrt()).clamp(min=1e-8)
                for query, vector in zip(queries, attended(queries, context, scale), strict=True)
            ]
        )
        return cosines.mean() if lse is None else (lse * cosines).exp().sum().log() / lse

    return torch.stack([torch.stack([pair(image, caption) for caption in captions]) for image in images])


def linear(weights: Weights, name: str, vector: Tensor) -> Tensor:
    return weights[f"{name}.weight"] @ vector + weights[f"{name}.bias"]


def alignments(weights: Weights, image: Tensor, caption: Tensor, scale: float) -> Tensor:
    """(1 + words, size): the whole pair's, then each word's. Of both sets the first vector is the whole one."""
    words = caption[1:]
    vectors = [unit(linear(weights, "whole", (image[0] - caption[0]) ** 2))]
    for word, vector in zip(words, attended(words, image[1:], scale), strict=True):
        vectors.append(unit(linear(weights, "local", (unit(vector) - word) ** 2)))
    return torch.stack(vectors)


def reasoned(weights: Weights, nodes: Tensor, steps: int) -> Tensor:
    """SGR's vector of one pair."""
    for step in range(steps):
        name = f"reasoning.{step}"
        queries = [linear(weights, f"{name}.query", node) for node in nodes]
        keys = [linear(weights, f"{name}.key", node) for node in nodes]
        moved = []
        for query in queries:
            edges = torch.softmax(torch.stack([query @ key for key in keys]), dim=0)
            seen = sum((e * node for e, node in zip(edges, nodes, strict=True)), torch.zeros_like(nodes[0]))
            moved.append(linear(weights, f"{name}.out", seen).clamp(min=0))
        nodes = torch.stack(moved)
    return nodes[0]


def filtered(gate: Tensor, nodes: Tensor) -> Tensor:
    """SAF's vector of one pair. gate: (1 + words,) between 0 and 1"""
    shares = gate / (gate.abs().sum() + 1e-8)
    return unit(sum((s * node for s, node in zip(shares, nodes, strict=True)), torch.zeros_like(nodes[0])))


Pooled = Callable[[list[list[Tensor]]], list[list[Tensor]]]  # of all pairs' alignments, image by image


def measured(weights: Weights, images: PlainSets, captions: PlainSets, scale: float, pool: Pooled) -> Tensor:
    """The similarity of all pairs, from whole vectors and regions or words."""
    nodes = [[alignments(weights, image, caption, scale) for caption in captions] for image in images]
    return torch.stack([torch.stack([linear(weights, "score", v).sigmoid()[0] for v in row]) for row in pool(nodes)])


def reasoning(weights: Weights, steps: int) -> Pooled:
    return lambda nodes: [[reasoned(weights, pair, steps) for pair in row] for row in nodes]


def filtration(weights: Weights, training: bool) -> Pooled:
    """Its batch norm over the alignments of all pairs in training, by what it has learned else."""

    def pool(nodes: list[list[Tensor]]) -> list[list[Tensor]]:
        logits = [
            [torch.cat([linear(weights, "filtration.weights", x) for x in pair]) for pair in row] for row in nodes
        ]
        every = torch.cat([pair for row in logits for pair in row])
        mean, variance = weights["filtration.norm.running_mean"], weights["filtration.norm.running_var"]
        if training:
            mean, variance = every.mean(), (every - every.mean()).square().mean()
        gain, bias = weights["filtration.norm.weight"], weights["filtration.norm.bias"]

        def gate(x: Tensor) -> Tensor:
            return (gain * (x - mean) / (variance + 1e-5).sqrt() + bias).sigmoid()

        return [
            [filtered(gate(x), pair) for x, pair in zip(*rows, strict=True)] for rows in zip(logits, nodes, strict=True)
        ]

    return pool
