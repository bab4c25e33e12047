"""SGRAF's similarity: a vector of alignment for each word and one for the whole pair, then reasoning or filtration over
them (AAAI 2021). LHSC uses it too.

Its matrix products take nearly all of its time, above all the projection of every word against every image. So each image
meets a few thousand words at once, whichever captions they are from. Only what belongs to one pair, the norms of attention
and the pooling of alignments, is computed for captions of one length together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from itrcore.compiled import compilable
from itrcore.layers import together
from itrcore.layers.basics import l2, send, xavier
from itrcore.layers.cross_attention import EPSILON, attend, attention_weights, gram
from itrcore.layers.encoded import Sets
from itrcore.layers.norm import BatchNorm
from itrcore.layers.product import ROWS, narrow_matmul, narrow_type, product
from itrcore.layers.sets import by_size, cut, dense, sizes_in_order
from itrcore.methods.sgraf.settings import AlignmentSettings, FiltrationSettings, GateNorm, ReasoningSettings


@dataclass(frozen=True)
class Tiles:
    """Images and words of one block of pairs; attended: how many attended vectors are made at once, at least one image's"""

    images: int
    words: int
    attended: int


# On a CPU what the words of an image attend to stays in the shared cache (8 MB); a GPU wants more work at once. With sixteen
# images the alignments of captions of one length are a multiple of sixteen, which `product` takes without a copy.
CPU_TILES = Tiles(images=16, words=1792, attended=2048)
GPU_TILES = Tiles(images=32, words=8192, attended=2**18)


class Group(NamedTuple):
    """Pairs of some images with captions of one length q.

    alignments: (n, m, 1 + q, size), the whole pair's and the words'; first: number of its first caption, of all in the order of
    their lengths
    """

    alignments: Tensor
    first: int


@dataclass(frozen=True)
class _Captions:
    """Captions of one tile, in the order of their lengths.

    words: (w, d), filled up with rows of zeros to a multiple of `ROWS`; whole: (m, d); groups: (length, how many captions);
    first: number of the first caption, of all tiles
    """

    words: Tensor
    whole: Tensor
    groups: list[tuple[int, int]]
    first: int

    @classmethod
    def tiles(cls, texts: Sets, words: int) -> Iterator[_Captions]:
        """Of about so many words each. texts: sets of 1 + length vectors, the whole caption's first"""
        first = 0
        for tile in cut(texts, words):
            yield cls.of(tile, first)
            first += len(tile)

    @classmethod
    def of(cls, texts: Sets, first: int) -> _Captions:
        """One tile."""
        starts = texts.lengths.cumsum(0) - texts.lengths
        is_word = torch.ones(len(texts.vectors), dtype=torch.bool)
        is_word[starts] = False
        words = texts.vectors[send(is_word.nonzero().squeeze(1), texts.vectors.device)]
        return cls(
            functional.pad(words, (0, 0, 0, -len(words) % ROWS)),
            texts.vectors[send(starts, texts.vectors.device)],
            [(size - 1, count) for size, count in sizes_in_order(texts)],
            first,
        )

    def grouped(self, alignments: list[Tensor]) -> list[Group]:
        """Alignments of each group."""
        firsts = accumulate((count for _, count in self.groups[:-1]), initial=self.first)
        return [Group(part, first) for part, first in zip(alignments, firsts, strict=True)]


class AlignmentMeasure(nn.Module):
    """Similarity of every image and caption: between 0 and 1.

    local: of (what a word attends to − the word)², for each word; whole: of (whole image − whole caption)²
    """

    def __init__(self, settings: AlignmentSettings, module: ReasoningSettings | FiltrationSettings) -> None:
        super().__init__()
        size = settings.alignment_dim
        self.softmax_scale = settings.softmax_scale
        self.local, self.whole = xavier(nn.Linear(settings.dim, size)), xavier(nn.Linear(settings.dim, size))
        self.score = xavier(nn.Linear(size, 1))
        # The module that pools a pair's alignments is called by its kind, and so are its weights.
        self.pooling = "reasoning" if isinstance(module, ReasoningSettings) else "filtration"
        self.add_module(
            self.pooling,
            Reasoning(size, module.steps)
            if isinstance(module, ReasoningSettings)
            else Filtration(size, module.gate_norm),
        )

    def forward(self, images: Sets, texts: Sets, tiles: Tiles | None = None) -> Tensor:
        """Sets of `with_whole`, packed → (n_images, n_texts), in float32 also under mixed precision."""
        tiles = tiles or (CPU_TILES if texts.vectors.device.type == "cpu" else GPU_TILES)
        dtype = self.score.weight.dtype
        device = texts.vectors.device
        narrow = narrow_type(device)
        with torch.autocast(device.type, enabled=False):
            (images, image_places), (texts, text_places) = (
                by_size(Sets(side.vectors.to(dtype), side.lengths)) for side in (images, texts)
            )
            blocks = list(dense(images, tiles.images))
            pairs = ((block, tile) for tile in _Captions.tiles(texts, tiles.words) for block in blocks)
            if self.training:
                # All at once, as batch normalisation is over all pairs. What the alignments were computed from is computed
                # again in the backward pass: it is at least four times as large as they are.
                parts = [tile.grouped(self._recomputed(block, tile, tiles, narrow)) for block, tile in pairs]
                in_order = iter(self._scores([group for groups in parts for group in groups]))
                scores = [[next(in_order) for _ in groups] for groups in parts]
            else:
                scores = [
                    self._scores(tile.grouped(self._alignments(block, tile, tiles, narrow))) for block, tile in pairs
                ]
            columns = [torch.cat(part, dim=1) for part in scores]
            rows = [torch.cat(columns[i : i + len(blocks)]) for i in range(0, len(columns), len(blocks))]
            return torch.cat(rows, dim=1)[image_places][:, text_places]

    def attention(self, image: Sets, text: Sets) -> Tensor:
        """Which regions of one image the words of one caption attend to: (words, regions), rows sum to 1."""
        dtype = self.score.weight.dtype
        with torch.autocast(text.vectors.device.type, enabled=False):
            attn = text.vectors[1:].to(dtype) @ image.vectors[1:].to(dtype).T
            return attention_weights(attn, 0, 1, self.softmax_scale)

    def _recomputed(
        self, images: Tensor, captions: _Captions, tiles: Tiles, narrow: torch.dtype | None
    ) -> list[Tensor]:
        def alignments(images: Tensor, words: Tensor, whole: Tensor) -> list[Tensor]:
            return self._alignments(images, replace(captions, words=words, whole=whole), tiles, narrow)

        inputs = (images, captions.words, captions.whole)
        return checkpoint(alignments, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]

    def _alignments(
        self, images: Tensor, captions: _Captions, tiles: Tiles, narrow: torch.dtype | None
    ) -> list[Tensor]:
        """For each group of captions: (n, m, 1 + q, size), the whole pair's alignment and the words'.

        images: (n, 1 + r, d); narrow: as for `product`
        """
        groups = captions.groups
        local = self._local(images[:, 1:], captions, tiles, narrow)
        parts = torch.split(local, [length * count for length, count in groups], dim=1)
        wholes = torch.split(self._whole(images[:, 0], captions.whole, narrow), [count for _, count in groups], dim=1)
        return [
            torch.cat([whole[:, :, None], part.reshape(len(images), count, length, -1)], dim=2)
            for (length, count), part, whole in zip(groups, parts, wholes, strict=True)
        ]

    def _local(self, regions: Tensor, captions: _Captions, tiles: Tiles, narrow: torch.dtype | None) -> Tensor:
        """regions: (n, r, d) → (n, w, size)"""
        n, r, _ = regions.shape
        words, among = captions.words, gram(regions)
        sizes = [length * count for length, count in captions.groups]
        attn = product(words, regions.flatten(0, 1), narrow=narrow).view(-1, n, r)
        weights = []
        for (length, count), part in zip(captions.groups, torch.split(attn[: sum(sizes)], sizes), strict=True):
            weights.append(_unit_weights(part.view(count, length, n, r), among, self.softmax_scale).flatten(0, 1))
        # The rows of zeros attend to nothing.
        of_images = torch.cat([*weights, attn.new_zeros(len(words) - sum(sizes), n, r)]).transpose(0, 1)
        together = max(1, tiles.attended // len(words))
        parts = zip(torch.split(of_images, together), torch.split(regions, together), strict=True)
        aligned = (self._aligned(part, of, words, narrow)[:, : sum(sizes)] for part, of in parts)
        if torch.is_grad_enabled():
            return torch.cat([l2(part) for part in aligned])
        local = words.new_empty(n, sum(sizes), self.local.out_features)
        for part, place in zip(aligned, torch.split(local, together), strict=True):
            l2(part, out=place)
        return local

    def _aligned(self, weights: Tensor, regions: Tensor, words: Tensor, narrow: torch.dtype | None) -> Tensor:
        """weights: (n, w, r); regions: (n, r, d); words: (w, d) → (n, w, size), not of unit length yet"""
        differences = _differences(weights, regions, words, narrow).flatten(0, 1)
        return product(differences, self.local.weight, self.local.bias, narrow).view(*weights.shape[:2], -1)

    def _whole(self, images: Tensor, texts: Tensor, narrow: torch.dtype | None) -> Tensor:
        """(n, d) and (m, d) whole vectors → (n, m, size)"""
        differences = (images[:, None] - texts).square().flatten(0, 1)
        return l2(product(differences, self.whole.weight, self.whole.bias, narrow)).view(len(images), len(texts), -1)

    def _scores(self, groups: list[Group]) -> list[Tensor]:
        """(n, m) of each group."""
        pooled = self.get_submodule(self.pooling)(groups)
        return [
            self.score(vectors).sigmoid().view(group.alignments.shape[:2])
            for vectors, group in zip(pooled, groups, strict=True)
        ]


@compilable
def _unit_weights(attn: Tensor, gram: Tensor, scale: float) -> Tensor:
    """Weights whose sum of regions has unit length. attn: (m, q, n, r); gram: (n, r, r); scale: of the softmax → (m, q, n, r)"""
    attended = attend(attn, gram, "t2i", scale)
    return attended.weights / (attended.norms + EPSILON)[..., None]


def _differences(weights: Tensor, regions: Tensor, words: Tensor, narrow: torch.dtype | None) -> Tensor:
    """(what each word attends to − the word)². weights: (n, w, r); regions: (n, r, d); words: (w, d) → (n, w, d)"""
    if narrow is not None:
        attended = narrow_matmul(weights, regions, narrow)
    elif len(weights) == 1:
        attended = product(weights[0].contiguous(), regions[0].T.contiguous())[None]
    else:
        attended = torch.bmm(weights, regions)
    if torch.is_grad_enabled():
        return (attended - words).square()
    # In one pass, and in place.
    return torch.ops.aten.mse_loss.out(attended, words.expand_as(attended), 0, out=attended)  # type: ignore[no-any-return]


class Reasoning(nn.ModuleList):
    """Graph reasoning over a pair's alignments, step by step."""

    def __init__(self, size: int, steps: int) -> None:
        super().__init__(ReasoningStep(size) for _ in range(steps))

    def forward(self, groups: list[Group]) -> list[Tensor]:
        """The whole pair's alignment after all steps, (n · m, size) for each group."""
        *steps, last = [step.matrices() for step in self if isinstance(step, ReasoningStep)]
        pooled = []
        for group in groups:
            nodes = group.alignments.flatten(0, 1)
            for matrices in steps:
                nodes = _reason(nodes, nodes, *matrices)
            # After the last step only the whole pair's is used.
            pooled.append(_reason(nodes[:, :1], nodes, *last).squeeze(1))
        return pooled


class ReasoningStep(nn.Module):
    """One step: `relu(out(softmax(query(x) key(x)ᵀ) x))`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query, self.key, self.out = (xavier(nn.Linear(size, size)) for _ in range(3))

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query and key as one matrix and bias, then `out`'s.

        What is the same for all y in `query(x)·key(y)` does not change a softmax over y; so the key's bias learns nothing.
        """
        key = self.key.weight.T
        return key @ self.query.weight, key @ self.query.bias, self.out.weight, self.out.bias


def _reason(wanted: Tensor, nodes: Tensor, query: Tensor, query_bias: Tensor, out: Tensor, out_bias: Tensor) -> Tensor:
    """The next state of some nodes. wanted: (p, j, size), these; nodes: (p, k, size), all → (p, j, size)"""
    queries = product(wanted.flatten(0, 1), query, query_bias).view_as(wanted)
    edges = torch.softmax(torch.bmm(queries, nodes.transpose(1, 2)), dim=-1)
    seen = torch.bmm(edges, nodes).flatten(0, 1)
    moved = product(seen, out, out_bias).view_as(wanted)
    return moved.relu() if torch.is_grad_enabled() else moved.relu_()


class Filtration(nn.Module):
    """Attention filtration: alignments weighted by a gate that is normalised over many of them."""

    def __init__(self, size: int, gate_norm: GateNorm) -> None:
        super().__init__()
        self.weights = xavier(nn.Linear(size, 1))
        self.norm = BatchNorm(1)
        self.by_caption = gate_norm == "caption"

    def forward(self, groups: list[Group]) -> list[Tensor]:
        """(n · m, size) of unit length, for each group."""
        nodes = [group.alignments.flatten(0, 1) for group in groups]
        logits = [
            self.weights(part).view(group.alignments.shape[:-1]) for part, group in zip(nodes, groups, strict=True)
        ]
        if self.by_caption and self.training:
            gates = _by_caption(self.norm, logits, [group.first for group in groups])
        else:
            gates = _of_all_pairs(self.norm, logits)
        pooled = []
        for gate, part in zip(gates, nodes, strict=True):
            shares = gate.flatten(0, 1) / (gate.flatten(0, 1).sum(1, keepdim=True) + EPSILON)
            pooled.append(l2(torch.bmm(shares[:, None], part).squeeze(1)))
        return pooled


def _of_all_pairs(norm: nn.BatchNorm1d, groups: list[Tensor]) -> list[Tensor]:
    """Gates of groups of pairs from their logits, (n, m, k): normalised, then between 0 and 1.

    In training they are normalised over the alignments of all pairs of the batch, once a step.
    """
    normed: Tensor = norm(torch.cat([group.flatten() for group in groups])[:, None])
    parts = torch.split(normed.sigmoid().flatten(), [group.numel() for group in groups])
    return [part.view_as(group) for part, group in zip(parts, groups, strict=True)]


def _by_caption(norm: nn.BatchNorm1d, groups: list[Tensor], firsts: list[int]) -> list[Tensor]:
    """The same as the released loop has it in training: over one caption and all images, caption by caption.

    The loop goes from the longest caption to the shortest, and each moves the running statistics. So these come mostly from
    the batch's shortest captions. firsts: as `Group.first`
    """
    captions = [slice(first, first + group.shape[1]) for group, first in zip(groups, firsts, strict=True)]
    n_gates = torch.zeros(captions[-1].stop, dtype=torch.float64)  # of each caption and the images here, on the CPU
    for group, part in zip(groups, captions, strict=True):
        n_gates[part] += group.shape[0] * group.shape[2]
    counts = together.total(send(n_gates.to(groups[0].dtype), groups[0].device))

    def mean_of(values: list[Tensor]) -> Tensor:
        sums = torch.zeros_like(counts)
        for value, part in zip(values, captions, strict=True):
            sums[part] += value.sum((0, 2))
        return together.total(sums) / counts

    means = mean_of(groups)
    centred = [group - means[part, None] for group, part in zip(groups, captions, strict=True)]
    variances = mean_of([group.square() for group in centred])
    assert norm.momentum is not None
    later = torch.empty_like(n_gates)  # how many captions the loop takes after each
    later[n_gates.argsort(descending=True, stable=True)] = torch.arange(len(later) - 1, -1, -1, dtype=later.dtype)
    shares = (norm.momentum * (1 - norm.momentum) ** later).to(counts.dtype)
    for name, values in (("running_mean", means), ("running_var", variances * counts / (counts - 1))):
        norm.get_buffer(name).mul_((1 - norm.momentum) ** len(later)).add_(
            send(shares, counts.device) @ values.detach()
        )
    norm.get_buffer("num_batches_tracked").add_(len(later))
    scale = norm.weight * (variances + norm.eps).rsqrt()
    return [(group * scale[part, None] + norm.bias).sigmoid() for group, part in zip(centred, captions, strict=True)]
