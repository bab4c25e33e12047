"""SCAN: stacked cross attention, from words to regions or from regions to words (ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itrcore.assets.regions import Regions
from itrcore.assets.text import WordSource
from itrcore.compiled import compilable
from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.layers.basics import l2
from itrcore.layers.cross_attention import Direction, attend, attention_weights, gram
from itrcore.layers.encoded import Sets
from itrcore.layers.image_encoders import LinearRegionEncoder
from itrcore.layers.product import narrow_type, product
from itrcore.layers.sets import by_size, cut, dense
from itrcore.methods.contract import Attends, Method
from itrcore.methods.scan.settings import SCANSettings
from itrcore.settings.pooling import LSESettings, MeanSettings


@dataclass(frozen=True)
class Tiles:
    """Images and words of one block of pairs."""

    images: int
    words: int


CPU_TILES = Tiles(images=32, words=2048)
GPU_TILES = Tiles(images=128, words=8192)


class SCAN(Method[RegionBatch, Sets]):
    """A linear layer on each region, and an encoder of words; all vectors have unit length.

    The similarity of a pair pools the cosine of each query (words or regions) with what it attends to.
    """

    def __init__(self, settings: SCANSettings, image: Regions, text: WordSource) -> None:
        super().__init__()
        self.settings = settings
        self.regions = LinearRegionEncoder(image.width, settings.dim)
        self.words = text.encoder(settings.dim)

    def encode_images(self, batch: RegionBatch) -> Sets:
        """A set of regions per image, (all regions, d), each of unit length."""
        regions = Sets.pack(*self.regions(batch)).widened()
        return Sets(l2(regions.vectors), regions.lengths)

    def encode_texts(self, batch: TextBatch) -> Sets:
        """A set of words per caption, (all words, d), each of unit length."""
        words = Sets.pack(self.words(batch), batch.lengths).widened()
        return Sets(l2(words.vectors), words.lengths)

    def similarity(self, images: Sets, texts: Sets) -> Tensor:
        """All pairs of two blocks, (n_images, n_texts) float32, also under mixed precision."""
        settings = self.settings
        device = images.vectors.device
        narrow = narrow_type(device)
        with torch.autocast(device.type, enabled=False):
            return similarities(
                images.widened(),
                texts.widened(),
                settings.direction,
                settings.softmax_scale,
                settings.pooling,
                narrow=narrow,
            )


class SCANt2i(SCAN, Attends):
    """SCAN whose words attend to regions."""

    def attention(self, image: Sets, text: Sets) -> Tensor:
        """How much each word of a caption attends to each region of an image: (words, regions), rows sum to 1."""
        return attention_weights(text.vectors @ image.vectors.T, 0, 1, self.settings.softmax_scale)


def scan(settings: SCANSettings, image: Regions, text: WordSource) -> SCAN:
    """SCAN in the direction that the settings name."""
    return (SCANt2i if settings.direction == "t2i" else SCAN)(settings, image, text)


def similarities(
    images: Sets,
    texts: Sets,
    direction: Direction,
    scale: float,
    pooling: LSESettings | MeanSettings,
    tiles: Tiles | None = None,
    narrow: torch.dtype | None = None,
) -> Tensor:
    """All pairs' similarities, (n_images, n_texts), block by block.

    images, texts: packed vectors of unit length; scale: of the attention's softmax; narrow: as for `product`
    """
    tiles = tiles or (CPU_TILES if texts.vectors.device.type == "cpu" else GPU_TILES)
    (images, image_places), (texts, text_places) = by_size(images), by_size(texts)
    blocks = list(dense(images, tiles.images))
    # Products of the context with itself: of regions, block by block, or of words.
    of_blocks = [gram(regions) for regions in blocks] if direction == "t2i" else []
    lse = pooling.scale if isinstance(pooling, LSESettings) else None
    rows = []
    for tile in cut(texts, tiles.words):
        groups = list(dense(tile, len(tile)))
        of_groups = [gram(words) for words in groups] if direction == "i2t" else []
        sizes = [words.shape[0] * words.shape[1] for words in groups]
        columns = []
        for block, regions in enumerate(blocks):
            attn = product(tile.vectors, regions.flatten(0, 1), narrow=narrow)
            scores = []
            for group, (words, products) in enumerate(zip(groups, torch.split(attn, sizes), strict=True)):
                among = of_blocks[block] if of_blocks else of_groups[group]
                pairs = products.view(*words.shape[:2], *regions.shape[:2])
                scores.append(_scores(pairs, among, direction, scale, lse))
            columns.append(torch.cat(scores))
        rows.append(torch.cat(columns, dim=1))
    return torch.cat(rows)[text_places].T[image_places]


@compilable
def _scores(attn: Tensor, gram: Tensor, direction: Direction, scale: float, lse: float | None) -> Tensor:
    """Cosines of the queries with what they attend to, pooled over the queries of each pair: (n_captions, n_images).

    attn, gram, direction, scale: as `attend` takes them; lse: the scale of the log-sum-exp that pools; None: their mean
    """
    attended, queries = attend(attn, gram, direction, scale), 1 if direction == "t2i" else 2
    cosines = attended.products / attended.norms
    return cosines.mean(queries) if lse is None else torch.logsumexp(cosines * lse, dim=queries) / lse
