"""Training against queues: encoders that follow the method's own make vectors, which stay for later batches (MoCo).

All of it belongs to the training. It is saved and resumed with its state; a run's weights and its number of parameters
know nothing of it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from itrcore.data.feeding.batches import Batch
from itrcore.layers import together
from itrcore.layers.basics import send, widened
from itrcore.layers.clusters import Clusters
from itrcore.layers.encoded import Vectors
from itrcore.layers.entropy import effective_numbers
from itrcore.layers.losses.contract import Losses
from itrcore.layers.losses.queries import QueryLoss
from itrcore.layers.progress import Progress
from itrcore.layers.queue import Queue
from itrcore.methods.contract import EmbeddingMethod
from itrcore.methods.objective import Objective
from itrcore.settings.losses import MomentumSettings
from itrcore.settings.methods import MethodSettings


@dataclass(frozen=True)
class Pairs:
    """The matching pairs of a batch, all processes' together. images, texts: (n, width); ids: (n,) of the images"""

    images: Tensor
    texts: Tensor
    ids: Tensor


@dataclass(frozen=True)
class Clustered:
    """Instance vectors of both sides, of the batch and of the queue behind it, and the clusters that they are in.

    images, texts: (n + size, d); image_labels, text_labels: (n + size, clusters)
    """

    images: Tensor
    texts: Tensor
    image_labels: Tensor
    text_labels: Tensor


class MomentumObjective(Objective):
    """An embedding method with a loss of queries, within the batch and against a queue, for each of its branches.

    The vectors of the queue, and the match of a query against it, are of `keys`: a copy of the method whose parameters and
    buffers follow by an exponential moving average. It encodes as in evaluation: without dropout, and by its own statistics.
    """

    method: EmbeddingMethod[Any]
    loss: QueryLoss

    def __init__(self, method: EmbeddingMethod[Any], loss: QueryLoss, settings: MethodSettings) -> None:
        super().__init__(method, loss)
        assert isinstance(settings.loss, MomentumSettings) and settings.model.vector_width is not None
        self.settings = settings.loss
        self.keys: EmbeddingMethod[Any] = deepcopy(method).requires_grad_(False).eval()
        self.queue = Queue(self.settings.queue, settings.model.vector_width)
        clusters = self.settings.clusters
        self.clusters = None if clusters is None else Clusters(clusters, settings.model.dim)
        self._new: tuple[Pairs, Clustered | None] | None = None  # of the step that is being taken

    def train(self, mode: bool = True) -> MomentumObjective:
        """All but the following encoders."""
        super().train(mode)
        self.keys.eval()
        return self

    def forward(self, batch: Batch, progress: Progress) -> Losses:
        """As `Objective`, with the terms `<branch>_batch` and `<branch>_queue`, and `clusters` where there are some."""
        images, texts = self.encoded(batch, self.method.image_views, self.method.encode_texts)
        with torch.no_grad():
            key_images, key_texts = self.encoded(batch, self.keys.encode_images, self.keys.encode_texts)
        numbers = torch.cat(together.gather_numbers(torch.tensor(batch.image_ids)))
        ids = send(numbers, images.vectors.device)
        queries = Pairs(widened(images.gathered().vectors), widened(texts.gathered().vectors), ids)
        keys = Pairs(widened(key_images.gathered().vectors), widened(key_texts.gathered().vectors), ids)
        # In float32, as all similarities of embedding methods.
        with torch.autocast(ids.device.type, enabled=False):
            terms = self._compared(queries, keys, progress)
            clustered = None
            if self.clusters is not None:
                clustered = self._clustered(keys, self.clusters)
                terms["clusters"] = self._predicted(queries, clustered, self.clusters)
        self._new = keys, clustered
        return Losses(terms, self.method.loss_weight(progress))

    def constant(self, n: int, progress: Progress) -> float | None:
        """None: the queue fills meanwhile, and the clusters' labels have no such loss."""
        return None

    def inner(self, images: Vectors, texts: Vectors) -> dict[str, float]:
        """Beside the method's: `clusters_used` of dev's vectors, and `clusters_each` of one of them, where there are clusters."""
        figures = super().inner(images, texts)
        if self.clusters is not None:
            sides = (self.method.branches(widened(side.vectors))["instance"] for side in (images, texts))
            used, each = effective_numbers(torch.cat([self.clusters.nearest(vectors) for vectors in sides]))
            figures |= {"clusters_used": used, "clusters_each": each}
        return figures

    @torch.no_grad()
    def after_step(self) -> None:
        """The encoders of the queue follow, then this step's pairs join it and the clusters move."""
        super().after_step()
        following, current = self.keys.state_dict(), self.method.state_dict()
        for name, value in following.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - self.settings.momentum)
            else:
                value.copy_(current[name])
        assert self._new is not None
        (keys, clustered), self._new = self._new, None
        if len(self.queue):
            self.queue.add(keys.images, keys.texts, keys.ids)
        if self.clusters is not None and clustered is not None:
            vectors = torch.cat([clustered.images, clustered.texts])
            self.clusters.move(vectors, torch.cat([clustered.image_labels, clustered.text_labels]))

    def _compared(self, queries: Pairs, keys: Pairs, progress: Progress) -> dict[str, Tensor]:
        """The loss within the batch and against the queue, branch by branch."""
        branches = self.method.branches
        other, terms = queries.ids[:, None] != queries.ids, dict[str, Tensor]()
        of = zip(*(branches(vectors).items() for vectors in (queries.images, queries.texts)), strict=True)
        for (name, images), (_, texts) in of:
            within = self.loss.both_ways(images @ texts.T, other, progress)
            terms[f"{name}_batch"] = self.settings.batch_weight * within
            if len(self.queue):
                negative = self.queue.negative(queries.ids)
                losses = [
                    self.loss.each((query * key).sum(dim=1), query @ kept.T, negative, progress)
                    for query, key, kept in (
                        (images, branches(keys.texts)[name], branches(self.queue.texts)[name]),
                        (texts, branches(keys.images)[name], branches(self.queue.images)[name]),
                    )
                ]
                terms[f"{name}_queue"] = self.loss.reduced(*losses)
        return terms

    def _clustered(self, keys: Pairs, clusters: Clusters) -> Clustered:
        counts = torch.cat([torch.ones_like(keys.ids, dtype=torch.bool), self.queue.filled])
        images, texts = (
            self.method.branches(torch.cat([new, kept]))["instance"]
            for new, kept in ((keys.images, self.queue.images), (keys.texts, self.queue.texts))
        )
        return Clustered(images, texts, clusters.labels(images, counts), clusters.labels(texts, counts))

    def _predicted(self, queries: Pairs, clustered: Clustered, clusters: Clusters) -> Tensor:
        n = len(queries.ids)
        labels = [clustered.image_labels[:n], clustered.text_labels[:n]]
        if clusters.settings.labels == "other":
            labels.reverse()
        losses = [
            clusters.loss(self.method.branches(vectors)["concept"], of)
            for vectors, of in zip((queries.images, queries.texts), labels, strict=True)
        ]
        return clusters.settings.weight * self.loss.reduced(*losses)
