"""Training steps in the released formulations, written plainly: ours' encoders, and what the released codes do after them.

Cross attention goes through the captions one by one (`benchmarks.released_similarity`), GPO's GRU over every item of a batch, and
values are read after each step. Batches are float32 in ordinary memory.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import released_similarity as released
from benchmarks.train_step import Released as ReleasedESA
from itrcore.data.feeding.batches import Batch, PixelBatch
from itrcore.layers.basics import l2, unpack, widened
from itrcore.layers.encoded import Sets
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.esl.levels import level_weights
from itrcore.methods.objective import Objective
from itrcore.pretrained.clip import image_features, text_features
from itrcore.settings.methods import MethodSettings

Scores = Callable[[Any, Any, Batch], Tensor]  # of a method, its settings' model and a batch → (n, m)


class Released(nn.Module):
    """A copy of our method and loss, with scores as the released code computes them."""

    def __init__(self, ours: Objective, model: Any, scores: Scores) -> None:
        super().__init__()
        self.method, self.loss = deepcopy(ours.method), deepcopy(ours.loss)
        self.model, self.scores = model, scores

    def forward(self, batch: Batch, progress: Progress) -> Losses:
        """As `Objective.forward`."""
        return Losses(self.loss(self.scores(self.method, self.model, batch), progress), 1.0)


def of(ours: Objective, settings: MethodSettings) -> nn.Module | None:
    """The released formulation with our weights; None where it is not written here."""
    model: Any = settings.model
    if model.kind == "esa" and model.text.kind == "bigru":
        return ReleasedESA(ours)
    known: dict[str, Scores] = {"scan": scan, "sgraf": alignment, "lhsc": alignment, "esl": esl, "esl_clip": esl_clip}
    if model.kind == "vse" and model.pooling.kind == "gpo":
        known["vse"] = vse_infty
    return Released(ours, model, known[model.kind]) if model.kind in known else None


def scan(method: Any, model: Any, batch: Batch) -> Tensor:
    """SCAN with LogSumExp."""
    images, texts = method.image_views(batch.images), method.encode_texts(batch.texts)
    return released.scan(_dense(images), texts, model.direction, model.softmax_scale, model.pooling.scale)


def alignment(method: Any, model: Any, batch: Batch) -> Tensor:
    """SGR, SAF and LHSC."""
    images, texts = method.image_views(batch.images), method.encode_texts(batch.texts)
    return released.alignment(method.measure, _dense(images), texts, model.softmax_scale)


def esl(method: Any, model: Any, batch: Batch) -> Tensor:
    """ESL on regions: the measure's projection is of each pair, not of each region."""
    regions = Sets.pack(*method.regions(batch.images))
    levels = Sets(method.region_levels(l2(widened(regions.vectors))), regions.lengths)
    return released.esl(method.measure, _dense(levels), method.encode_texts(batch.texts))


def esl_clip(method: Any, model: Any, batch: Batch) -> Tensor:
    """ESL on CLIP: level by level."""
    assert isinstance(batch.images, PixelBatch)
    last = (batch.texts.lengths - 1).to(batch.texts.ids.device)
    images = method.image_levels(released.unit(image_features(method.clip, batch.images.pixels)))
    texts = method.text_levels(released.unit(text_features(method.clip, batch.texts.ids, last)))
    measure = method.measure
    weights = level_weights(measure.weight, torch.sigmoid(measure.sigma), torch.exp(measure.log_lambda))
    parts = zip(*(torch.split(side, measure.blocks, dim=-1) for side in (images, texts)), strict=True)
    scores = [y @ (mask * w) @ x.T for (y, x), mask, w in zip(parts, measure.masks, weights, strict=True)]
    return torch.stack(scores).sum(0) / len(scores)


def vse_infty(method: Any, model: Any, batch: Batch) -> Tensor:
    """VSE∞."""
    images = gpo(method.region_pooling, *method.regions(batch.images))
    texts = gpo(method.word_pooling, method.words(batch.texts), batch.texts.lengths)
    return l2(images) @ l2(texts).T


def gpo(pooling: Any, features: Tensor, lengths: Tensor) -> Tensor:
    """VSE∞'s pooling: the GRU makes the weights of every item. features: (n, k, d); lengths: (n,) → (n, d)"""
    n, k, _ = features.shape
    shown = (torch.arange(k).expand(n, -1) < lengths[:, None]).to(features.device)
    codes = pooling._codes(k, features.device).repeat(n, 1, 1)
    packed = pack_padded_sequence(codes, lengths, batch_first=True, enforce_sorted=False)
    both = pad_packed_sequence(pooling.gru(packed)[0], batch_first=True, total_length=k)[0]
    half = both.shape[-1] // 2
    scores = pooling.linear((both[..., :half] + both[..., half:]) / 2).masked_fill(~shown[..., None], -10000.0)
    weights = torch.softmax(scores / pooling.temperature, dim=1)
    ranked = features.masked_fill(~shown[..., None], -10000.0).sort(dim=1, descending=True).values
    return (ranked.masked_fill(~shown[..., None], 0.0) * weights).sum(1)


def _dense(images: Sets) -> Tensor:
    """(n, r, d), filled up with zeros where regions are dropped."""
    return unpack(images.vectors, images.lengths, int(images.lengths.max()))


def step(
    model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, progress: Progress, clip_norm: float
) -> float:
    """One step of a model on its device; the loss, which is read."""
    total = model(batch.to(next(model.parameters()).device), progress).total
    optimiser.zero_grad()
    total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimiser.step()
    return float(total.detach())
