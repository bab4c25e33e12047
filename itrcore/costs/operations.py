"""The order of magnitude of a method's cost from its settings alone: multiplications, and a speed that was once measured.

For who only looks, without torch. It may be three times too much or too little; `itr check --cost` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

from itrcore.costs.counts import Shape
from itrcore.costs.rates import Rates
from itrcore.settings.encoders import (
    BertSettings,
    BiGRUSettings,
    CLIPSettings,
    GridSettings,
    ResNetShape,
    TowersSettings,
)
from itrcore.settings.losses import MomentumSettings
from itrcore.settings.methods import CrossSettings, MethodSettings, ModelSettings, SetSettings
from itrcore.settings.published_sizes import bert_sizes, sizes_of

WORDS = 15.4  # tokens of a caption, on average in Flickr30K
_SPEED = 4e10  # multiplications a second on one thread of a server's CPU
_OVERHEAD = 0.03  # seconds of a step that its many operations take, however small they are
_BACKWARD = 3  # a training step takes three times a forward pass
_PAIRWISE = 0.3  # of what is done to every pair: methods spare most of it
_PUBLISHED_RESNET = ResNetShape(embedding=64, widths=[256, 512, 1024, 2048], depths=[3, 4, 23, 3])


@dataclass(frozen=True)
class _Part:
    """An encoder: its weights, and multiplications for an item."""

    weights: float
    operations: float


def estimated(settings: MethodSettings, shape: Shape, n_tokens: int, threads: int) -> Rates:
    """On a CPU. n_tokens: of the vocabulary or of word pieces; threads: `training.threads`"""
    model, size = settings.model, settings.recipe.batch_size
    text, image = _text(model, n_tokens), _image(model, shape)
    pair = _pair(model, shape)
    speed = _SPEED * threads
    read = text.operations
    if isinstance(model.text, BertSettings) and model.text.freeze:  # a step meets only the layer behind BERT
        read = WORDS * bert_sizes(model.text.weights).hidden * model.dim
    encoded = model.n_views * read + image.operations
    step = _BACKWARD * size * (encoded + size * model.n_views**2 * pair)
    if isinstance(settings.loss, MomentumSettings):
        step += size * encoded  # by the encoders that follow
    return Rates(
        step=_OVERHEAD + step / speed,
        image=image.operations / speed,
        caption=text.operations / speed,
        pair=pair / speed,
        parameters=round(text.weights + image.weights),
        how="estimated",
    )


def _text(model: ModelSettings, n_tokens: int) -> _Part:
    text, dim = model.text, model.dim
    if isinstance(text, BiGRUSettings):
        gates = 6 * dim * (text.word_dim + dim)  # three of each direction
        return _Part(n_tokens * text.word_dim + gates, WORDS * gates)
    if isinstance(text, BertSettings):
        if (own := text.shape) is None:
            bert = bert_sizes(text.weights)
            return _tower(bert.hidden, bert.layers, bert.intermediate, bert.n_tokens, WORDS, dim)
        return _tower(own.hidden, own.layers, own.intermediate, n_tokens, WORDS, dim)
    if isinstance(text, TowersSettings):
        of = sizes_of(text.weights)
        length = of.positions if of.filled else WORDS
        return _tower(of.text.hidden, of.text.layers, of.text.intermediate, of.n_tokens, length, dim)
    if text.shape is None:  # ViT-B's
        return _tower(512, 12, 2048, 49_408, WORDS, dim)
    return _tower(text.shape.text_hidden, text.shape.text_layers, text.shape.text_intermediate, n_tokens, WORDS, dim)


def _image(model: ModelSettings, shape: Shape) -> _Part:
    text = model.text
    if isinstance(text, CLIPSettings):
        if (own := text.shape) is None:
            return _tower(768, 12, 3072, 0, (224 / 16) ** 2 + 1, model.dim)
        patches = (own.picture / own.patch) ** 2 + 1
        return _tower(own.image_hidden, own.image_layers, own.image_intermediate, 0, patches, model.dim)
    if isinstance(text, TowersSettings):
        of = sizes_of(text.weights)
        patches = (of.picture // of.patch) ** 2 + 1
        return _tower(of.image.hidden, of.image.layers, of.image.intermediate, 0, patches, model.dim)
    grid = model.grid if isinstance(model, SetSettings) else None
    if grid is not None:
        return _resnet(grid, model.dim)
    weights = shape.width * model.dim * (1.75 if isinstance(model, SetSettings) else 1)  # with an MLP beside it
    return _Part(weights, shape.regions * weights)


def _tower(hidden: int, layers: int, intermediate: int, n_tokens: int, length: float, dim: int) -> _Part:
    """A transformer and a linear layer behind it. length: tokens or patches of an item"""
    weights = layers * (4 * hidden**2 + 2 * hidden * intermediate) + hidden * dim
    return _Part(weights + n_tokens * hidden, length * weights)


def _resnet(grid: GridSettings, dim: int) -> _Part:
    """Bottleneck blocks, of 17/16 of their width's square weights, each stage on a quarter of the cells of the one before."""
    resnet = grid.shape or _PUBLISHED_RESNET
    stages = [17 / 16 * width**2 * depth for width, depth in zip(resnet.widths, resnet.depths, strict=True)]
    cells = [(grid.picture / 4 / 2**stage) ** 2 for stage in range(len(stages))]
    last = resnet.widths[-1] * dim * 1.75
    operations = sum(weights * number for weights, number in zip(stages, cells, strict=True)) + last * cells[-1]
    return _Part(sum(stages) + last, operations)


def _pair(model: ModelSettings, shape: Shape) -> float:
    """Multiplications for the similarity of an image and a caption."""
    crossed = isinstance(model, CrossSettings) or (model.attends and not model.reads_pixels)
    if not crossed:
        return model.dim
    alignment = getattr(model, "alignment_dim", 0)  # of methods with a vector for every pair of a word and an image
    return _PAIRWISE * WORDS * model.dim * 2 * (shape.regions + alignment)
