"""The concept branch: a graph of concepts, and what an instance vector finds in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from itrcore.data.concepts.concepts import Concepts
from itrcore.layers.basics import l2

_LEAK = 0.2  # of the rectifier between the two layers, as in CVSE


class ConceptGraph(nn.Module):
    """Two layers of graph convolution over the concepts' word vectors, and attention to their outputs.

    Source: CVSE (ECCV 2020), sections 3.2 and 3.3, by CODER's first author; there too a softmax of scale 10.
    """

    words: Tensor
    edges: Tensor

    def __init__(self, concepts: Concepts, hidden: int, dim: int, scale: float) -> None:
        """hidden: the width between the layers; dim: of the outputs; scale: what similarities are multiplied by"""
        super().__init__()
        self.scale = scale
        self.register_buffer("words", torch.tensor(concepts.vectors))
        self.register_buffer("edges", torch.tensor(concepts.graph))
        self.first = nn.Linear(concepts.vectors.shape[1], hidden, bias=False)
        self.second = nn.Linear(hidden, dim, bias=False)

    def forward(self, queries: Tensor) -> Tensor:
        """The concepts that each query attends to. queries: (m, dim) unit vectors → (m, dim) unit vectors"""
        concepts = self.concepts()
        return l2(self._attention(queries, concepts) @ concepts)

    def attention(self, queries: Tensor) -> Tensor:
        """How much each query attends to each concept: (m, dim) unit vectors → (m, n), rows sum to 1."""
        return self._attention(queries, self.concepts())

    def concepts(self) -> Tensor:
        """(n, dim) unit vectors."""
        hidden = functional.leaky_relu(self.edges @ self.first(self.words), _LEAK)
        return l2(self.edges @ self.second(hidden))

    def _attention(self, queries: Tensor, concepts: Tensor) -> Tensor:
        return torch.softmax(self.scale * queries @ concepts.T, dim=1)
