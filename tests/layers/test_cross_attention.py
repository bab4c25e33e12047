"""Stacked cross attention of dense blocks: weights, products and norms of what is attended to, against plain vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.layers.cross_attention import Attended, Direction, attend, attention_weights, gram
from tests.support.plain_attention import attended, attention, make_sets

DIRECTIONS = pytest.mark.parametrize("direction", ["t2i", "i2t"])
SHAPES = pytest.mark.parametrize(("captions", "words", "images", "regions"), [(3, 4, 2, 5), (1, 1, 1, 1), (2, 7, 3, 1)])


def blocks(captions: int, words: int, images: int, regions: int) -> tuple[Tensor, Tensor]:
    """(captions, words, d) and (images, regions, d), of unit length."""
    return tuple(
        torch.stack(make_sets([k] * n, 6, seed)) for seed, (n, k) in enumerate(((captions, words), (images, regions)))
    )  # type: ignore[return-value]


def attending(words: Tensor, regions: Tensor, direction: Direction, scale: float = 9.0) -> Attended:
    attn = torch.einsum("mqd,nrd->mqnr", words, regions)
    return attend(attn, gram(regions if direction == "t2i" else words), direction, scale)


@DIRECTIONS
@SHAPES
def test_every_pair_attends_as_if_it_were_alone(
    captions: int, words: int, images: int, regions: int, direction: Direction
) -> None:
    of_words, of_regions = blocks(captions, words, images, regions)
    together = attending(of_words, of_regions, direction)
    for m, caption in enumerate(of_words):
        for n, image in enumerate(of_regions):
            queries, context = (caption, image) if direction == "t2i" else (image, caption)
            weights = together.weights[m, :, n] if direction == "t2i" else together.weights[m, :, n].T
            torch.testing.assert_close(weights, attention(queries, context, 9.0))
            vectors = attended(queries, context, 9.0)
            of_pair = (m, slice(None), n) if direction == "t2i" else (m, n)
            torch.testing.assert_close(together.norms[of_pair], torch.stack([v.norm() for v in vectors]))
            products = torch.stack([q @ v for q, v in zip(queries, vectors, strict=True)])
            torch.testing.assert_close(together.products[of_pair], products)


@DIRECTIONS
def test_gradients_are_right(direction: Direction) -> None:
    words, regions = blocks(2, 3, 2, 2)

    def values(words: Tensor, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        together = attending(words, regions, direction)
        return together.weights, together.products, together.norms

    assert torch.autograd.gradcheck(values, (words.requires_grad_(), regions.requires_grad_()))


@DIRECTIONS
@pytest.mark.parametrize("what", ["words", "regions", "opposite"])
def test_zeros_and_vectors_that_cancel_give_numbers_and_gradients(direction: Direction, what: str) -> None:
    words, regions = blocks(2, 2, 2, 2)
    with torch.no_grad():
        if what == "opposite":  # both attended to alike, to nothing
            words[..., 3:], regions[..., :3] = 0, 0
            words[:, 1], regions[:, 1] = -words[:, 0], -regions[:, 0]
        else:
            (words if what == "words" else regions).zero_()
    together = attending(words.requires_grad_(), regions.requires_grad_(), direction)
    values = (together.weights, together.products, together.norms, together.products / together.norms)
    assert all(bool(value.isfinite().all()) for value in values)
    for gradient in torch.autograd.grad(torch.stack([value.sum() for value in values]).sum(), (words, regions)):
        assert bool(gradient.isfinite().all())


def test_weights_are_of_the_dimensions_that_are_asked_for() -> None:
    words, regions = blocks(1, 4, 1, 3)
    attn = words[0] @ regions[0].T
    torch.testing.assert_close(attention_weights(attn, 0, 1, 9.0), attention(words[0], regions[0], 9.0))
    torch.testing.assert_close(attention_weights(attn, 1, 0, 4.0), attention(regions[0], words[0], 4.0).T)
