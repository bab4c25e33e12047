"""What `benchmarks.similarity` compares: each method's similarity as ours and as its released code states it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.simulated_captions import PIECES
from itrcore.models.base import Encoded
from itrcore.models.encoders import l2
from itrcore.models.levels import Levels
from itrcore.models.word_region import WordRegionMeasure


@dataclass(frozen=True)
class Sizes:
    """How many items, of how many regions and dimensions; captions are as long as Flickr30K's."""

    images: int
    captions: int
    regions: int
    dim: int


@dataclass(frozen=True)
class Case:
    """Both ways from the same encoded items to (n_images, n_captions); multiply-adds of the products that ours needs."""

    ours: Callable[[], Tensor]
    released: Callable[[], Tensor]
    multiply_adds: int


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
    rows, words = sizes.images * sizes.regions, int(lengths.sum())
    with torch.no_grad():
        image_levels = Levels(*form, from_normalised=True).to(device)  # type: ignore[arg-type]
        text_levels = Levels(*form, from_normalised=False).to(device)  # type: ignore[arg-type]
        images = image_levels(l2(torch.randn(rows, sizes.dim, device=device)))
        texts = Encoded(text_levels(l2(torch.randn(words, sizes.dim, device=device))), lengths)
    counts = torch.full((sizes.images,), sizes.regions)
    width = images.shape[1]
    return Case(
        ours=lambda: measure(Encoded(measure.project(images), counts), texts),
        released=lambda: released_esl(measure, images.view(sizes.images, sizes.regions, width), texts),
        multiply_adds=rows * words * width + rows * sum(size**2 for size in measure.sizes),
    )


def released_esl(measure: WordRegionMeasure, images: Tensor, texts: Encoded) -> Tensor:
    """Caption by caption: repeat its words for every image, project each level, and weigh by two softmaxes.

    images: (n, r, Σ n_l) levels of regions; texts: levels of words
    """
    assert texts.lengths is not None
    smooth, matrices = measure.log_smooth.exp(), measure.matrices()
    regions = torch.split(images, measure.sizes, dim=-1)

    def weighted(attn: Tensor) -> Tensor:
        gate = functional.leaky_relu(attn.tanh().transpose(1, 2).contiguous(), 0.1)
        gate = gate / (gate.pow(2).sum(2, keepdim=True).sqrt() + 1e-8)
        weights = torch.softmax(gate.transpose(1, 2).contiguous() * smooth, dim=2)
        return (attn * weights).sum(-1).mean(1, keepdim=True)

    columns = []
    for words in torch.split(texts.vectors, texts.lengths.tolist()):
        repeated = [level[None].repeat(len(images), 1, 1) for level in torch.split(words, measure.sizes, dim=-1)]
        products = [x @ d @ y.transpose(1, 2) for x, d, y in zip(repeated, matrices, regions, strict=True)]
        attn = torch.stack(products).sum(0)
        columns.append(weighted(attn) + weighted(attn.transpose(1, 2).contiguous()))
    return torch.cat(columns, dim=1)


METHODS: dict[str, Callable[[Sizes, torch.device], Case]] = {"esl": esl}
