"""What `benchmarks.similarity` compares: each method's similarity as ours and as its released code states it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import released_similarity as released
from benchmarks.simulated_arrays import feature_rows
from benchmarks.untrained import method_of, settings_of
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.data.feeding.random_captions import F30K_IDS, PIECES, WORDS, captions
from itrcore.layers.basics import l2
from itrcore.layers.encoded import Sets
from itrcore.methods.esl.levels import Levels
from itrcore.methods.esl.word_region import WordRegionMeasure

TOGETHER = 100  # items that are encoded at once


@dataclass(frozen=True)
class Sizes:
    """How many items, of how many regions and dimensions; captions are as long as Flickr30K's."""

    images: int
    captions: int
    regions: int
    dim: int


@dataclass(frozen=True)
class Case:
    """Both ways from the same encoded items to (n_images, n_captions); model: whose layers they compute with."""

    model: nn.Module
    ours: Callable[[], Tensor]
    released: Callable[[], Tensor]


@dataclass(frozen=True)
class Compared:
    """A method of the benchmark.

    make: its case; dim: as published
    measure, at_least: what the project promises on 2 cores: how many times as fast as the released loop it is (`ratio`), or,
        where it is bound by arithmetic, which share of the machine's speed it reaches (`share_of_peak`)
    """

    make: Callable[[Sizes, torch.device], Case]
    dim: int
    measure: Literal["ratio", "share_of_peak"]
    at_least: float


def caption_lengths(captions: int) -> Tensor:
    """(n,) word pieces of each, [CLS] and [SEP] included."""
    chance = np.array(PIECES) / sum(PIECES)
    return torch.from_numpy(np.random.default_rng(0).choice(len(PIECES), captions, p=chance))


def esl(sizes: Sizes, device: torch.device) -> Case:
    """ESL, heuristic; from levels of regions and words on. `dim` a power of 2."""
    torch.manual_seed(0)
    form = ("heuristic", sizes.dim, min(8, sizes.dim.bit_length() - 2), 2)
    measure = WordRegionMeasure(*form).to(device)  # type: ignore[arg-type]
    lengths = caption_lengths(sizes.captions)
    with torch.no_grad():
        image_levels = Levels(*form, from_normalised=True).to(device)  # type: ignore[arg-type]
        text_levels = Levels(*form, from_normalised=False).to(device)  # type: ignore[arg-type]
        images = image_levels(l2(torch.randn(sizes.images * sizes.regions, sizes.dim, device=device)))
        texts = Sets(text_levels(l2(torch.randn(int(lengths.sum()), sizes.dim, device=device))), lengths)
    counts = torch.full((sizes.images,), sizes.regions)
    return Case(
        measure,
        ours=lambda: measure(Sets(measure.project(images), counts), texts),
        released=lambda: released.esl(measure, images.view(sizes.images, sizes.regions, -1), texts),
    )


def encoded(name: str, sizes: Sizes, device: torch.device) -> tuple[Any, Any, Sets, Sets]:
    """A method of recipes/ at random weights, its settings, and simulated images and captions as it encodes them."""
    settings = settings_of(name, sizes.dim)
    method = method_of(settings).to(device).eval()
    rows = feature_rows(sizes.images, sizes.regions)
    images, texts = [], []
    with torch.inference_mode():
        for n in blocks(sizes.images):
            regions = torch.from_numpy(np.stack([next(rows) for _ in range(n)]))
            images.append(method.encode_images(RegionBatch(regions, torch.full((n,), sizes.regions)).to(device)))
        tokens = captions(sizes.captions, F30K_IDS, WORDS, np.random.default_rng(0))
        ids = iter([np.array(caption.ids) for caption in tokens])
        for n in blocks(sizes.captions):
            texts.append(method.encode_texts(TextBatch.pad([next(ids) for _ in range(n)]).to(device)))
    return method, settings.model, Sets.join(images), Sets.join(texts)


def blocks(n: int) -> list[int]:
    """n in numbers of at most TOGETHER."""
    return [min(TOGETHER, n - first) for first in range(0, n, TOGETHER)]


def scan(name: str, sizes: Sizes, device: torch.device) -> Case:
    """A SCAN with LogSumExp pooling; from unit regions and words on."""
    method, model, images, texts = encoded(name, sizes, device)
    regions = images.vectors.view(sizes.images, sizes.regions, -1)
    scales = (model.softmax_scale, model.pooling.scale)
    return Case(
        method,
        ours=lambda: method.similarity(images, texts),
        released=lambda: released.scan(regions, texts, model.direction, *scales),
    )


def alignment(name: str, sizes: Sizes, device: torch.device) -> Case:
    """SGR, SAF or LHSC; from whole vectors and unit regions and words on."""
    method, model, images, texts = encoded(name, sizes, device)
    regions = images.vectors.view(sizes.images, 1 + sizes.regions, -1)
    return Case(
        method,
        ours=lambda: method.similarity(images, texts),
        released=lambda: released.alignment(method.measure, regions, texts, model.softmax_scale),
    )


METHODS = {
    "esl": Compared(esl, 512, "ratio", 6.0),
    "sgr": Compared(partial(alignment, "sgr_bigru"), 1024, "share_of_peak", 0.6),
    "saf": Compared(partial(alignment, "saf_bigru"), 1024, "share_of_peak", 0.6),
    "lhsc": Compared(partial(alignment, "lhsc_bigru"), 1024, "share_of_peak", 0.6),
    "scan_t2i": Compared(partial(scan, "scan_t2i_lse_bigru"), 1024, "ratio", 3.0),
    "scan_i2t": Compared(partial(scan, "scan_i2t_lse_bigru"), 1024, "ratio", 3.0),
}

# What an operation is for, by a part of the name that `operations.watch` gives it.
PARTS = {
    "_tile_scores, products": "attention scores",
    "WordRegionMeasure.project, products": "projection of levels",
    "word_region._": "softmaxes and norms",
    "scan.similarities, products": "attention scores",
    "AlignmentMeasure._local, products": "attention scores",
    "attention_weights, rest": "softmax and norms",
    "cross_attention.attend": "lengths of attended vectors",
    "gram, products": "lengths of attended vectors",
    "_differences, products": "attended vectors",
    "_differences, rest": "differences",
    "measure.local": "local projection",
    "measure.whole": "whole projection",
    "basics.l2, rest": "norms of alignments",
    "alignment._reason": "graph",
    "measure.reasoning": "graph",
    "alignment.Filtration": "pooling",
    "measure.filtration": "pooling",
    "measure.score": "pooling",
    "scan._scores, rest": "pooling",
}


def parts(watched: Mapping[str, float]) -> dict[str, float]:
    """Seconds by name; other products keep the name of their function, and all the rest is `copies`, which most of it is."""
    spent: dict[str, float] = defaultdict(float)
    for where, seconds in watched.items():
        other = "copies" if where.endswith(", rest") else where
        spent[next((name for fragment, name in PARTS.items() if fragment in where), other)] += seconds
    return dict(spent)
