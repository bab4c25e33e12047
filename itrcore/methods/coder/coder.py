"""CODER (ECCV 2022), a reconstruction: an instance vector beside a vector of the concepts that it finds in a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from itrcore.assets.image import SetImages
from itrcore.assets.text import WordSource
from itrcore.data.concepts.concepts import Concepts
from itrcore.data.feeding.batches import ImageBatch, TextBatch
from itrcore.layers.basics import l2, widened
from itrcore.layers.encoded import Vectors
from itrcore.layers.entropy import effective_numbers
from itrcore.layers.pooling import GPO
from itrcore.methods.coder.concepts import ConceptGraph
from itrcore.methods.coder.settings import AlphaOnDev, CODERSettings
from itrcore.methods.contract import EmbeddingMethod, SetMethod


class CODER(SetMethod[ImageBatch, Vectors], EmbeddingMethod[ImageBatch]):
    """Both sides: encoder → GPO → l2, the instance vector; it queries the graph of concepts, the same for both sides.

    The similarity is `α · S_instance + (1 − α) · S_concept`, which is the inner product of vectors of both, each times the
    root of its weight. α is a buffer, as dev may choose it: it is kept with the weights.
    """

    alpha: Tensor

    def __init__(self, settings: CODERSettings, image: SetImages, text: WordSource, concepts: Concepts) -> None:
        super().__init__()
        self.on_dev = settings.alpha if isinstance(settings.alpha, AlphaOnDev) else None
        self.register_buffer("alpha", torch.tensor(self.on_dev.near if self.on_dev else settings.alpha))
        self.input = image.input(settings.region_drop)
        self.regions = image.encoder(settings.dim, settings.region_drop)
        self.region_pooling = GPO(settings.pooling)
        self.words = text.encoder(settings.dim)
        self.word_pooling = GPO(settings.pooling)
        self.graph = ConceptGraph(concepts, settings.graph_dim, settings.dim, settings.attention_scale)

    def encode_images(self, batch: ImageBatch) -> Vectors:
        """(n, 2d): a unit vector of each branch."""
        return self._both(l2(self.region_pooling(*self.regions(batch))))

    def encode_texts(self, batch: TextBatch) -> Vectors:
        """(m, 2d): a unit vector of each branch."""
        return self._both(l2(self.word_pooling(self.words(batch), batch.lengths)))

    def branches(self, vectors: Tensor) -> dict[str, Tensor]:
        """The unit vectors of both, (n, d) each."""
        instance, concept = vectors.chunk(2, dim=-1)
        return {"instance": instance, "concept": concept}

    def choices(self) -> Sequence[Mapping[str, float]]:
        """α, where the settings leave it to dev; the nearest to its usual value first."""
        return [{"alpha": value} for value in self.on_dev.values] if self.on_dev else ()

    def inner(self, images: Vectors, texts: Vectors) -> dict[str, float]:
        """`concepts_used`: how many concepts dev's vectors attend to together; `concepts_each`: how many one of them does."""
        instance = self.branches(torch.cat([widened(images.vectors), widened(texts.vectors)]))["instance"]
        used, each = effective_numbers(self.graph.attention(instance))
        return {"concepts_used": used, "concepts_each": each}

    def image_vectors(self, encoded: Vectors) -> Tensor:
        """(n, 2d) unit vectors to index."""
        return self._weighted(super().image_vectors(encoded))

    def text_vectors(self, encoded: Vectors) -> Tensor:
        """(m, 2d) unit vectors to search with."""
        return self._weighted(super().text_vectors(encoded))

    def _both(self, instance: Tensor) -> Vectors:
        return Vectors(torch.cat([instance, self.graph(instance)], dim=-1))

    def _weighted(self, vectors: Tensor) -> Tensor:
        instance, concept = self.branches(vectors).values()
        return torch.cat([self.alpha.sqrt() * instance, (1 - self.alpha).sqrt() * concept], dim=-1)
