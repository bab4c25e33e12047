"""SCAN: its four similarities against plain loops over pairs, their gradients, what they depend on; weights and attention."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from itrcore.data.feeding.batches import RegionBatch, TextBatch
from itrcore.layers.cross_attention import Direction
from itrcore.layers.encoded import Sets
from itrcore.layers.image_encoders import LinearRegionEncoder
from itrcore.methods.contract import Attends
from itrcore.methods.scan.scan import SCAN, Tiles, similarities
from itrcore.settings.pooling import LSESettings, MeanSettings
from tests.support.helpers import image_batch, method_of, method_settings, text_batch
from tests.support.plain_attention import CASES, attention, make_sets, packed, scan, unit

WIDTH, DIM, N_WORDS = 12, 16, 30
LSE = LSESettings(kind="lse", scale=6.0)
MEAN = MeanSettings(kind="mean")
VARIANTS: list[tuple[Direction, LSESettings | MeanSettings]] = [
    ("t2i", LSE),
    ("t2i", MEAN),
    ("i2t", LSE),
    ("i2t", MEAN),
]
EACH = pytest.mark.parametrize(("direction", "pooling"), VARIANTS, ids=lambda v: v if isinstance(v, str) else v.kind)
FAMILIES = [f"scan_{direction}_{'lse' if pooling is LSE else 'avg'}_bigru" for direction, pooling in VARIANTS]
SMALL = [None, Tiles(1, 1), Tiles(2, 9)]  # all at once, a pair at a time, several each way


def built(name: str, **model: Any) -> SCAN:
    settings = method_settings(name)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update=model)})
    method = method_of(settings, WIDTH, N_WORDS, 0)
    assert isinstance(method, SCAN)
    return method


@EACH
@pytest.mark.parametrize("tiles", SMALL)
@pytest.mark.parametrize(("regions", "words"), CASES)
def test_every_pair_is_scored_as_if_it_were_alone(
    regions: list[int], words: list[int], tiles: Tiles | None, direction: Direction, pooling: LSESettings | MeanSettings
) -> None:
    images, texts = make_sets(regions, 6, 0), make_sets(words, 6, 1)
    scores = similarities(packed(images), packed(texts), direction, 9.0, pooling, tiles)
    lse = pooling.scale if isinstance(pooling, LSESettings) else None
    torch.testing.assert_close(scores, scan(images, texts, direction, 9.0, lse), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_methods_similarity_is_that_of_its_settings_from_unit_regions_and_words(name: str) -> None:
    method = built(name, softmax_scale=4.0).double().eval()
    images, texts = image_batch([5, 2, 4], WIDTH), text_batch([4, 1, 9], N_WORDS)
    batch = RegionBatch(images.regions.double(), images.lengths)
    assert isinstance(method.regions, LinearRegionEncoder)
    with torch.no_grad():
        similarity = method.similarity(method.encode_images(batch), method.encode_texts(texts))
        words = method.words(texts)
        sets = [
            [
                torch.stack([unit(method.regions.fc(row)) for row in image[:n]])
                for image, n in zip(batch.regions, batch.lengths, strict=True)
            ],
            [torch.stack([unit(row) for row in caption[:n]]) for caption, n in zip(words, texts.lengths, strict=True)],
        ]
    _, direction, pooling, _ = name.split("_")
    expected = scan(sets[0], sets[1], direction, 4.0, 6.0 if pooling == "lse" else None)
    # What l2's epsilon takes off a query's length, 1e-8, the plain cosine puts back.
    torch.testing.assert_close(similarity, expected, rtol=0, atol=1e-7)


@EACH
@pytest.mark.parametrize("tiles", [None, Tiles(1, 2)])
def test_gradients_are_right(direction: Direction, pooling: LSESettings | MeanSettings, tiles: Tiles | None) -> None:
    images, texts = packed(make_sets([2, 3, 1], 4, 0)), packed(make_sets([3, 1, 2], 4, 1))

    def score(regions: Tensor, words: Tensor) -> Tensor:
        sides = Sets(regions, images.lengths), Sets(words, texts.lengths)
        return similarities(*sides, direction, 9.0, pooling, tiles)

    assert torch.autograd.gradcheck(score, (images.vectors.requires_grad_(), texts.vectors.requires_grad_()))


@EACH
@pytest.mark.parametrize("case", ["no words", "no regions", "the same vectors", "one each"])
def test_degenerate_sets_have_similarities_and_gradients(
    case: str, direction: Direction, pooling: LSESettings | MeanSettings
) -> None:
    one = case == "one each"
    images = packed(make_sets([1, 1] if one else [2, 3], 4, 0, torch.float32))
    texts = packed(make_sets([1, 1] if one else [3, 2], 4, 1, torch.float32))
    if case == "no words":
        texts.vectors.zero_()
    elif case == "no regions":
        images.vectors.zero_()
    elif case == "the same vectors":
        texts.vectors.copy_(images.vectors)
    vectors = images.vectors.requires_grad_(), texts.vectors.requires_grad_()
    scores = similarities(images, texts, direction, 9.0, pooling)
    assert bool(scores.isfinite().all())
    for gradient in torch.autograd.grad(scores.sum(), vectors):
        assert bool(gradient.isfinite().all())
    if case.startswith("no"):  # cosines of 0, pooled over the queries
        queries = texts.lengths if direction == "t2i" else images.lengths
        pooled = queries.log() / LSE.scale if pooling is LSE else torch.zeros(2)
        expected = pooled.expand(2, 2) if direction == "t2i" else pooled[:, None].expand(2, 2)
        torch.testing.assert_close(scores.detach(), expected)
    if one:  # each attends to the other alone
        torch.testing.assert_close(scores.detach(), vectors[0].detach() @ vectors[1].detach().T)


@EACH
def test_float32_is_near_float64_at_published_size(direction: Direction, pooling: LSESettings | MeanSettings) -> None:
    images, texts = packed(make_sets([36, 36, 10], 1024, 0)), packed(make_sets([8, 14, 30] * 6, 1024, 1))
    shared = images.vectors[:20] * 3
    texts.vectors[:20] = (texts.vectors[:20] + shared) / (texts.vectors[:20] + shared).norm(dim=1, keepdim=True)
    exact = similarities(images, texts, direction, 9.0, pooling)
    single = [Sets(side.vectors.float(), side.lengths) for side in (images, texts)]
    rounded = similarities(single[0], single[1], direction, 9.0, pooling)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=0, atol=1e-5)


@EACH
def test_a_similarity_does_not_depend_on_the_others_of_its_block(
    direction: Direction, pooling: LSESettings | MeanSettings
) -> None:
    images = packed(make_sets([36] * 20 + [7, 3], 32, 0, torch.float32))
    texts = packed(make_sets([9, 4, 9, 20, 1] * 20, 32, 1, torch.float32))
    together = similarities(images, texts, direction, 9.0, pooling)
    for i, j in ((0, 0), (21, 3), (5, 99), (20, 50)):
        alone = similarities(images[i : i + 1], texts[j : j + 1], direction, 9.0, pooling)
        assert abs(float(alone) - float(together[i, j])) < 1e-6


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("value", [math.nan, 1e30])
def test_what_pads_regions_is_never_looked_at(name: str, value: float) -> None:
    method = built(name)
    images, texts = image_batch([5, 2, 4], WIDTH), text_batch([4, 2, 6], N_WORDS)
    padded = images.regions.clone()
    padded[1, 2:], padded[2, 4:] = value, value
    (weight, _) = method.regions.parameters()
    scores, gradients = [], []
    for regions in (images.regions, padded):
        batch = RegionBatch(regions, images.lengths)
        scores.append(method.similarity(method.encode_images(batch), method.encode_texts(texts)))
        gradients.append(torch.autograd.grad(scores[-1].square().sum(), weight)[0])
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)
    if math.isfinite(value):
        torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)


def test_what_pads_captions_is_never_looked_at() -> None:
    method = built(FAMILIES[0]).eval()
    texts = text_batch([4, 2, 6], N_WORDS)
    ids = texts.ids.clone()
    ids[1, 2:] = 7
    with torch.no_grad():
        plain, other = (method.encode_texts(TextBatch(given, texts.lengths)) for given in (texts.ids, ids))
    assert torch.equal(plain.vectors, other.vectors)


@EACH
def test_mixed_precision_rounds_products_in_training_and_nothing_in_evaluation(
    direction: Direction, pooling: LSESettings | MeanSettings
) -> None:
    method = built(FAMILIES[VARIANTS.index((direction, pooling))])
    images, texts = packed(make_sets([5, 3], DIM, 0, torch.float32)), packed(make_sets([4, 7], DIM, 1, torch.float32))
    expected = method.similarity(images, texts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = method.similarity(images, texts)
        with torch.inference_mode():
            assert torch.equal(method.similarity(images, texts), expected)
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.02)
    halves = [Sets(side.vectors.bfloat16(), side.lengths) for side in (images, texts)]
    rounded = method.similarity(halves[0], halves[1])
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.02)


def test_words_attend_to_regions_in_one_direction_alone() -> None:
    method = built("scan_t2i_lse_bigru", softmax_scale=4.0)
    assert isinstance(method, Attends)
    (image,), (caption,) = make_sets([5], DIM, 0, torch.float32), make_sets([3], DIM, 1, torch.float32)
    weights = method.attention(packed([image]), packed([caption]))
    torch.testing.assert_close(weights, attention(caption, image, 4.0))
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert not isinstance(built("scan_i2t_lse_bigru"), Attends)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_have_the_names_and_sizes_that_checkpoints_rely_on(name: str) -> None:
    state = built(name).state_dict()
    sizes = {key: tuple(value.shape) for key, value in state.items() if not key.startswith("words.gru.")}
    assert sizes == {
        "regions.fc.weight": (DIM, WIDTH),
        "regions.fc.bias": (DIM,),
        "words.embed.weight": (N_WORDS, 8),
    }
    assert state["words.gru.weight_ih_l0_reverse"].shape == (3 * DIM, 8)
    bound = math.sqrt(6 / (WIDTH + DIM))
    assert 0.9 * bound < state["regions.fc.weight"].abs().max() <= bound
    assert not state["regions.fc.bias"].any()
