"""ESL's similarity of a caption's words and an image's regions, for all pairs of two blocks (TCSVT 2023).

attn = X D Yᵀ is bilinear, so D is applied once per region (`project`), and a block of pairs needs one matrix product.
Captions are taken in the order of their lengths: those of one length are a dense (captions, words, regions, images) view of
that product, without padding. As images are last, both softmaxes run over long rows. Every step but the product stays in
cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from itrcore.compiled import compilable
from itrcore.layers.basics import send, unpack
from itrcore.layers.cross_attention import EPSILON, SLOPE
from itrcore.layers.encoded import Sets
from itrcore.layers.product import narrow_type, product
from itrcore.layers.sets import by_size, cut, sizes_in_order
from itrcore.methods.esl.levels import level_weights, widths


@dataclass(frozen=True)
class Tiles:
    """Sizes of the blocks of pairs: regions and words of one product, and how many of its elements are scored at once."""

    regions: int
    words: int
    elements: int


# On a CPU a product stays below 30 MB, and what is scored at once in the shared cache; a GPU wants more work at once.
CPU_TILES = Tiles(regions=1152, words=6144, elements=2**19)
GPU_TILES = Tiles(regions=9216, words=8192, elements=2**27)


class WordRegionMeasure(nn.Module):
    """`S = mean over words of Σ_regions attn·W + mean over regions of Σ_words attn·W'`, W and W' softmaxes over attn.

    masks, norms: a square matrix for each block of `levels.widths`, normalised as a whole; weight, sigma, log_lambda: how
    much each block counts; log_smooth: the softmaxes' scale. Shapes are those of the released code's layers.
    """

    def __init__(self, strategy: Literal["heuristic", "adaptive"], dim: int, levels: int, kernel: int) -> None:
        super().__init__()
        self.sizes = widths(dim, levels, kernel)
        self.sharpened = strategy == "heuristic"
        self.masks = nn.ParameterList(torch.randn(size, size) for size in self.sizes)
        self.norms = nn.ModuleList(nn.LayerNorm([size, size], eps=EPSILON) for size in self.sizes)
        self.weight = nn.Parameter(torch.full((1, levels + 1), 0.1))
        self.sigma = nn.Parameter(torch.zeros(1, 1))
        self.log_lambda = nn.Parameter(torch.full((1, 1), 3.0))
        self.log_smooth = nn.Parameter(torch.full((1, 1), math.log(1 / 0.07)))

    def matrices(self) -> list[Tensor]:
        """D of each block, (n_l, n_l)."""
        weights = level_weights(self.weight, self.sigma, self.log_lambda.exp() if self.sharpened else 0.0)
        return [norm(mask) * weight for mask, norm, weight in zip(self.masks, self.norms, weights, strict=True)]

    def project(self, regions: Tensor) -> Tensor:
        """Levels of regions, (…, Σ n_l) → Y·Dᵀ, of the same shape: its inner products with words are `attn`."""
        with torch.autocast(regions.device.type, enabled=False):
            blocks = torch.split(regions.to(self.weight.dtype), self.sizes, dim=-1)
            return torch.cat([y @ d.T for y, d in zip(blocks, self.matrices(), strict=True)], dim=-1)

    def forward(self, images: Sets, texts: Sets) -> Tensor:
        """Projected regions and levels of words, packed → (n_images, n_texts), in float32 also under mixed precision."""
        dtype, device = self.weight.dtype, images.vectors.device
        narrow = narrow_type(device)
        with torch.autocast(device.type, enabled=False):
            return similarities(
                Sets(images.vectors.to(dtype), images.lengths),
                Sets(texts.vectors.to(dtype), texts.lengths),
                self.log_smooth.exp().squeeze(),
                narrow=narrow,
            )

    def attention(self, image: Sets, text: Sets) -> Tensor:
        """W of one image, projected, and one caption: (words, regions), rows sum to 1."""
        with torch.autocast(image.vectors.device.type, enabled=False):
            attn = text.vectors.to(self.weight.dtype) @ image.vectors.to(self.weight.dtype).T
            gate = _gate(attn)
            scale = _scale(gate.square().sum(0, keepdim=True), self.log_smooth.exp())
            return torch.softmax(gate * scale, dim=-1)


def similarities(
    regions: Sets, words: Sets, smooth: Tensor, tiles: Tiles | None = None, narrow: torch.dtype | None = None
) -> Tensor:
    """All pairs' similarities, (n_images, n_texts), tile by tile.

    regions: projected, packed; words: packed; smooth: the softmaxes' scale, one value; narrow: as for `product`
    """
    device = words.vectors.device
    tiles = tiles or (CPU_TILES if device.type == "cpu" else GPU_TILES)
    (by_regions, image_places), (captions, caption_places) = by_size(regions), by_size(words)
    images = list(_image_tiles(by_regions, tiles))
    buffers = [] if torch.is_grad_enabled() or device.type != "cpu" else _buffers(images, captions, tiles)
    scores = torch.cat(
        [
            torch.cat([_tile_scores(block, tile, smooth, tiles, buffers, narrow) for tile in images], dim=1)
            for block in cut(captions, tiles.words)
        ]
    )
    return scores[caption_places].T[image_places]


@dataclass(frozen=True)
class _ImageTile:
    """regions: (r · n, d), region by region of n images; counts: (n,) regions of each; absent: (r, n), where padded."""

    regions: Tensor
    counts: Tensor
    absent: Tensor | None


def _image_tiles(images: Sets, tiles: Tiles) -> Iterator[_ImageTile]:
    """images: in the order of their numbers of regions"""
    most = max(1, int(images.lengths[-1]))
    size = max(16, tiles.regions // most // 16 * 16)  # vectors of a CPU hold 8 or 16 values
    for first in range(0, len(images), size):
        tile = images[first : first + size]
        counts = send(tile.lengths, tile.vectors.device)
        longest = int(tile.lengths[-1])
        if int(tile.lengths[0]) == longest:
            yield _ImageTile(tile.vectors.view(len(tile), longest, -1).transpose(0, 1).flatten(0, 1), counts, None)
            continue
        absent = torch.arange(longest, device=counts.device) >= counts[:, None]
        padded = unpack(tile.vectors, tile.lengths, longest)
        yield _ImageTile(padded.transpose(0, 1).flatten(0, 1), counts, absent.T)


def _buffers(images: list[_ImageTile], captions: Sets, tiles: Tiles) -> list[Tensor]:
    """Memory for `_pair_scores` to overwrite: on a CPU new memory for each step would cost more than the step itself."""
    columns = max(len(tile.regions) for tile in images)
    most = min(tiles.elements, int(captions.lengths.sum()) * columns)
    return list(captions.vectors.new_empty(3, max(most, int(captions.lengths[-1]) * columns)))


def _tile_scores(
    captions: Sets,
    images: _ImageTile,
    smooth: Tensor,
    tiles: Tiles,
    buffers: list[Tensor],
    narrow: torch.dtype | None,
) -> Tensor:
    """(captions, images) of one product."""
    attn = product(captions.vectors, images.regions, narrow=narrow)
    groups = sizes_in_order(captions)
    scores = []
    for (length, _), group in zip(groups, torch.split(attn, [size * count for size, count in groups]), strict=True):
        blocks = group.view(-1, length, group.shape[1] // len(images.counts), len(images.counts))
        for block in torch.split(blocks, max(1, tiles.elements // blocks[0].numel())):
            scores.append(_pair_scores(block, images, smooth, *[b[: block.numel()].view(block.shape) for b in buffers]))
    return torch.cat(scores)


@compilable
def _pair_scores(
    attn: Tensor,
    images: _ImageTile,
    smooth: Tensor,
    a: Tensor | None = None,
    b: Tensor | None = None,
    c: Tensor | None = None,
) -> Tensor:
    """attn: (captions, words, regions, images) → (captions, images). a, b, c: of its shape, to be written over."""
    gate = _gate(attn, a)
    squares = torch.mul(gate, gate, out=b)
    of_regions, of_words = squares.sum(1, keepdim=True), squares.sum(2, keepdim=True)
    inputs = torch.mul(gate, _scale(of_regions, smooth), out=b)
    if images.absent is not None:
        inputs.masked_fill_(images.absent, -math.inf)
    weights = torch.softmax(inputs, 2, out=c)
    to_image = torch.mul(weights, attn, out=b).sum(2).mean(1)
    weights = torch.softmax(torch.mul(gate, _scale(of_words, smooth), out=b), 1, out=c)
    # A padded region's attn is 0, and so is what it adds.
    to_text = torch.mul(weights, attn, out=b).sum(1).sum(1) / images.counts
    return to_image + to_text


def _gate(attn: Tensor, out: Tensor | None = None) -> Tensor:
    """Half of LeakyReLU(tanh(attn)); the factor does not matter, as the result is divided by its norm.

    Computed as `tanh(x) / 2 = sigmoid(2x) - 1/2`, which on a CPU takes a quarter of the time. Small values keep fewer digits,
    but a similarity changes by at most about 1e-7 times the softmaxes' scale, however small all products are.
    """
    half = torch.sub(torch.sigmoid(torch.mul(attn, 2, out=out), out=out), 0.5, out=out)
    return functional.leaky_relu(half, SLOPE, inplace=out is not None)


def _scale(squares: Tensor, smooth: Tensor) -> Tensor:
    """The factor that makes `_gate` the input of a softmax: smooth / (norm + epsilon). squares: sums of the gate's squares"""
    # Half of epsilon, as the gate is halved. Where all squares are 0 the gradient of the root is not a number.
    return smooth / (squares.clamp(min=1e-30).sqrt() + EPSILON / 2)
