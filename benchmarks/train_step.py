"""Seconds of a training step of ESA-BiGRU at published size, ours against the released formulation written plainly.

    python -m benchmarks.train_step --json train_step.json

A step is forward pass, loss, backward pass, clipping of gradients and AdamW, on simulated features (36 × 2,048) and
captions of random words, as long as Flickr30K's, two touched views each. Both ways start from the same weights, see the
same batches in the same order, take turns step by step (which of them is first changes, too), and run in one process with
two CPU threads. That they compute the same is checked first: with the same masks and without dropout, their losses and
gradients differ by rounding alone. So is ours with
`training.compile`, and on a GPU both in bf16.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.simulated_arrays import REGIONS, WIDTH, feature_rows
from benchmarks.untrained import method_of, settings_of
from itrcore.compiled import compiling
from itrcore.data.feeding.batches import Batch, RegionBatch, TextBatch
from itrcore.data.feeding.random_captions import F30K_IDS, WORDS, captions
from itrcore.data.feeding.token_table import TokenTable
from itrcore.files import write_json
from itrcore.layers.losses.contract import Losses
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective

THREADS = 2
NOISE = 0.03  # of the ratio's median, on a machine that does other things too
LOSS_ROUNDING, GRADIENT_ROUNDING = 1e-5, 1e-4  # shares of the loss and of the largest gradient


def released_pool(features: Tensor, scores: Tensor, shown: Tensor) -> Tensor:
    """Per dimension a softmax over the set: features and scores (n, k, d), shown (n, k) → unit vectors (n, d)."""
    scores = scores.masked_fill(~shown[..., None], -10000.0)
    weights = torch.softmax(scores - scores.max(dim=1, keepdim=True).values, dim=1)
    pooled = (weights.masked_fill(~shown[..., None], 0.0) * features).sum(dim=1)
    return pooled / (pooled.pow(2).sum(dim=-1, keepdim=True).sqrt() + 1e-8)


class Released(nn.Module):
    """ESA-BiGRU as its released code computes it (two views), with a copy of our method's layers."""

    def __init__(self, ours: Objective) -> None:
        super().__init__()
        method: Any = deepcopy(ours.method)
        image, text = method.regions, method.words
        self.fc, self.hidden, self.norm, self.out = image.fc, image.hidden, image.norm, image.out
        self.region_scores = method.region_pooling.linear
        self.embed, self.dropout, self.gru = text.embed, text.dropout, text.gru
        self.word_scores = method.word_pooling.linear
        loss: Any = ours.loss
        self.drop, self.margin, self.warmup_epochs = (
            method.region_drop,
            loss.settings.margin,
            loss.settings.warmup_epochs,
        )

    def images(self, regions: Tensor, shown: list[Tensor]) -> Tensor:
        """(n, k, width) → (2n, d), the views of an image adjacent."""
        n, k, _ = regions.shape
        hidden = torch.relu(self.norm(self.hidden(regions.reshape(n * k, -1))))
        features = self.fc(regions) + self.out(hidden).view(n, k, -1)
        scores = self.region_scores(features)
        return torch.stack([released_pool(features, scores, view) for view in shown], dim=1).flatten(0, 1)

    def texts(self, batch: TextBatch) -> Tensor:
        """(m, l) ids → (m, d)."""
        words = self.dropout(self.embed(batch.ids))
        lengths, order = batch.lengths.sort(descending=True)
        back = order.argsort()
        packed = pack_padded_sequence(words[order.to(words.device)], lengths, batch_first=True)
        both = pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0][back.to(words.device)]
        half = both.shape[-1] // 2
        features = (both[..., :half] + both[..., half:]) / 2
        shown = torch.arange(features.shape[1]).expand(len(back), -1) < batch.lengths[:, None]
        return released_pool(features, self.word_scores(features), shown.to(words.device))

    def forward(self, batch: Batch, progress: Progress, shown: Tensor | None = None) -> Losses:
        """The loss; shown: (n, 2, k) the regions that each view sees, drawn where it is not given."""
        assert isinstance(batch.images, RegionBatch)
        n, k, _ = batch.images.regions.shape
        if shown is None:
            views = [torch.rand(n, k).to(batch.images.regions.device) >= self.drop for _ in range(2)]
        else:
            views = list(shown.unbind(1))
        scores = self.images(batch.images.regions, views) @ self.texts(batch.texts).T
        item = torch.arange(2 * n, device=scores.device) // 2
        own = item[:, None] == item[None, :]
        blocks = scores.masked_select(own).view(n, 2, 2)  # row by row, so [i, a, b] is image view a, text view b
        rows = (self.margin + scores - blocks.min(dim=2).values.view(-1, 1)).clamp(min=0).masked_fill(own, 0)
        columns = (self.margin + scores - blocks.min(dim=1).values.view(1, -1)).clamp(min=0).masked_fill(own, 0)
        if progress.epoch >= self.warmup_epochs:
            rows, columns = rows.max(dim=1).values, columns.max(dim=0).values
        return Losses({"self_expanding": rows.sum() + columns.sum()})


@dataclass
class Way:
    """A model under training, and how it computes."""

    name: str
    model: nn.Module
    optimiser: torch.optim.Optimizer
    bf16: bool
    compiled: bool
    seconds: list[float]  # of every step that counts

    def step(self, batch: Batch, recipe: Any, progress: Progress) -> float:
        """As `itrcore/training/loop.py` steps; returns the seconds it took."""
        started = time.perf_counter()
        with compiling(self.compiled):
            with torch.autocast(batch.texts.ids.device.type, torch.bfloat16, enabled=self.bf16):
                total = self.model(batch, progress).total
            float(total.detach())  # waits for the device, as the loop does
            self.optimiser.zero_grad()
            total.backward()
        float(nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm))
        self.optimiser.step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started


def ways(ours: Objective, recipe: Any, device: torch.device) -> list[Way]:
    """Ours and the released one, in float32, and ours compiled; on a GPU in bf16 too."""

    def way(name: str, model: nn.Module, bf16: bool = False, compiled: bool = False) -> Way:
        model = deepcopy(model).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        return Way(name, model, optimiser, bf16, compiled, [])

    measured = [way("ours", ours), way("released", Released(ours)), way("ours, compiled", ours, compiled=True)]
    if device.type == "cuda":
        measured += [
            way("released, bf16", Released(ours), bf16=True),
            way("ours, bf16", ours, bf16=True),
            way("ours, bf16, compiled", ours, bf16=True, compiled=True),
        ]
    return measured


def make_batches(model: Any, size: int, number: int, device: torch.device) -> list[Batch]:
    """Batches as a training makes them."""
    rng = np.random.default_rng(0)
    batches = []
    for seed in range(number):
        table = TokenTable.of(captions(size, F30K_IDS, WORDS, rng))
        texts = table.touched(np.repeat(np.arange(size), model.views), model.token_views, F30K_IDS, rng)
        regions = torch.from_numpy(np.stack(list(feature_rows(size, seed=seed))))
        images = RegionBatch(regions, torch.full((size,), REGIONS))
        batches.append(Batch(images, texts, list(range(size)), list(range(size))).to(device))
    return batches


def differences(ours: Objective, batch: Batch) -> dict[str, float]:
    """The largest differences from the released formulation, with the same masks and without dropout.

    Of losses: absolute, and as a share of the loss; of gradients: as a share of the largest gradient.
    """
    ours = deepcopy(ours).train()
    method: Any = ours.method
    method.words.dropout.p = 0.0
    released = Released(ours).train()
    assert isinstance(batch.images, RegionBatch)
    n, k, _ = batch.images.regions.shape
    largest_of = {"loss": 0.0, "loss_share": 0.0, "gradient_share": 0.0}
    for epoch in (0, released.warmup_epochs):  # all negatives, and the hardest
        progress = Progress(epoch, 0)
        torch.manual_seed(0)
        shown = torch.rand((n, 2, k), device=batch.images.regions.device) >= method.region_drop
        torch.manual_seed(0)  # so that ours draws these very masks
        one, other = ours(batch, progress).total, released(batch, progress, shown).total
        apart = float((one - other).detach().abs())
        mine = torch.autograd.grad(one, list(ours.parameters()))
        theirs = torch.autograd.grad(other, list(released.parameters()))
        largest = max(float(gradient.abs().max()) for gradient in theirs)
        furthest = max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))
        here = {"loss": apart, "loss_share": apart / float(other.detach()), "gradient_share": furthest / largest}
        largest_of = {name: max(value, here[name]) for name, value in largest_of.items()}
    return largest_of


def main() -> int:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="pairs; as many images")
    parser.add_argument("--dim", type=int, default=1024, help="of the embedding space")
    parser.add_argument("--rounds", type=int, default=200 if cuda else 12, help="steps of each way that are measured")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    device = torch.device("cuda" if cuda else "cpu")
    settings: Any = settings_of("esa_bigru", given.dim)
    ours = Objective.of(settings, method_of(settings)).to(device)
    batches = make_batches(settings.model, given.batch, 4, device)
    apart = differences(ours, batches[0])
    measured = ways(ours, settings.recipe, device)
    progress = Progress(settings.loss.warmup_epochs, 0)
    for number in range(-len(batches), given.rounds):
        for way in measured if number % 2 else measured[::-1]:
            seconds = way.step(batches[number % len(batches)], settings.recipe, progress)
            if number >= 0:  # the rounds before are for caches, kernels to be chosen, and compiling
                way.seconds.append(seconds)

    ratios = [theirs / ours for ours, theirs in zip(measured[0].seconds, measured[1].seconds, strict=True)]
    ratio = median(ratios)
    where = torch.cuda.get_device_name() if cuda else f"{THREADS} threads on {os.cpu_count()} cores"
    print(f"{given.batch} pairs of {REGIONS} × {WIDTH:,} regions and 2 views of a caption, d = {given.dim:,}, {where}")
    print(f"{'':21} {'ms a step':>9} {'images/s':>9}")
    speeds = {
        way.name: {"step_seconds": (step := median(way.seconds)), "images_per_s": given.batch / step}
        for way in measured
    }
    for name, value in speeds.items():
        print(f"{name:21} {1000 * value['step_seconds']:9,.1f} {value['images_per_s']:9,.1f}")
    same = apart["loss_share"] <= LOSS_ROUNDING and apart["gradient_share"] <= GRADIENT_ROUNDING
    print(
        f"{'The same' if same else 'NOT THE SAME'}: with equal masks and no dropout the losses are {apart['loss']:.1e} "
        f"apart ({apart['loss_share']:.0e} of the loss), the gradients {apart['gradient_share']:.0e} of the largest one"
    )
    kept = ratio >= 1 - NOISE
    print(
        f"ours in float32 is {ratio:.2f} times as fast as the released formulation (rounds: {min(ratios):.2f} to "
        f"{max(ratios):.2f}); {'no slower' if kept else 'SLOWER'}"
    )
    if not cuda:
        print("bf16: not measured, there is no CUDA GPU here")
    if given.json:
        shape = {"batch": given.batch, "dim": given.dim, "rounds": given.rounds, "device": where, "cuda": cuda}
        write_json(
            given.json, {**shape, "ways": speeds, "ratio": ratio, "ratios": ratios, "apart": apart, "no_slower": kept}
        )
    return 0 if kept and same else 1


if __name__ == "__main__":
    sys.exit(main())
