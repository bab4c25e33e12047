"""SGR's and SAF's similarity from encoded sets on: against plain loops over pairs, gradients, what it depends on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itrcore.layers.encoded import Sets
from itrcore.methods.sgraf.alignment import AlignmentMeasure, Tiles
from itrcore.methods.sgraf.settings import SGRAFSettings
from tests.support.helpers import method_settings
from tests.support.plain_attention import (
    CASES,
    PlainSets,
    Pooled,
    attention,
    filtration,
    make_sets,
    measured,
    packed,
    reasoning,
)

EACH = pytest.mark.parametrize("kind", ["sgr", "saf"])
TILES = [None, Tiles(1, 1, 1), Tiles(2, 9, 1), Tiles(4, 30, 3)]  # all at once, a pair at a time, several each way
EVERY_CASE = pytest.mark.parametrize(("regions", "words"), CASES)


def built(
    kind: str, dim: int = 6, size: int = 5, type_: torch.dtype = torch.float64, noise: float = 0.3
) -> AlignmentMeasure:
    """A measure that has learned something: no weight as it starts, batch norm's statistics neither."""
    settings = method_settings(f"{kind}_bigru").model
    assert isinstance(settings, SGRAFSettings)
    torch.manual_seed(0)
    measure = AlignmentMeasure(settings.model_copy(update={"dim": dim, "alignment_dim": size}), settings.module)
    with torch.no_grad():
        for value in measure.parameters():
            value.add_(noise * torch.randn_like(value))
        if kind == "saf" and noise:
            measure.get_buffer("filtration.norm.running_mean").fill_(0.3)
            measure.get_buffer("filtration.norm.running_var").fill_(0.5)
    return measure.to(type_).eval()


def with_wholes(sizes: list[int], seed: int, width: int = 6, kind: torch.dtype = torch.float64) -> list[Tensor]:
    """Sets of one vector more than the sizes: the whole vector first."""
    return make_sets([size + 1 for size in sizes], width, seed, kind)


def plain(measure: AlignmentMeasure, images: PlainSets, texts: PlainSets) -> Tensor:
    weights = measure.state_dict(keep_vars=True)
    pool: Pooled = reasoning(weights, 2)
    if measure.pooling == "filtration":
        pool = filtration(weights, measure.training)
    return measured(weights, images, texts, 9.0, pool)


@EACH
@EVERY_CASE
@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("grad", [True, False])
def test_every_pair_is_scored_as_if_it_were_alone(
    regions: list[int], words: list[int], grad: bool, tiles: Tiles | None, kind: str
) -> None:
    measure, images, texts = built(kind), with_wholes(regions, 0), with_wholes(words, 1)
    with torch.set_grad_enabled(grad):
        scores = measure(packed(images), packed(texts), tiles)
    with torch.no_grad():
        torch.testing.assert_close(scores, plain(measure, images, texts), rtol=0, atol=1e-12)


@EVERY_CASE
@pytest.mark.parametrize("tiles", TILES)
def test_in_training_safs_batch_norm_is_over_all_pairs_once_a_step(
    regions: list[int], words: list[int], tiles: Tiles | None
) -> None:
    measure, images, texts = built("saf").train(), with_wholes(regions, 0), with_wholes(words, 1)
    before = copy.deepcopy(measure)
    old = {key: value.clone() for key, value in before.filtration.norm.named_buffers()}
    scores = measure(packed(images), packed(texts), tiles)
    scores.sum().backward()  # which makes the alignments again, but must not count them again
    expected = plain(before, images, texts)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)
    logits: list[Tensor] = []
    before.filtration.norm.register_forward_hook(lambda module, given, out: logits.append(given[0]))
    norm = measure.filtration.norm
    assert int(norm.get_buffer("num_batches_tracked")) == 1
    before(packed(images), packed(texts))
    every = torch.cat(logits).flatten()
    assert len(every) == sum(1 + length for length in words) * len(regions)
    torch.testing.assert_close(norm.running_mean, 0.9 * old["running_mean"] + 0.1 * every.mean())
    torch.testing.assert_close(norm.running_var, 0.9 * old["running_var"] + 0.1 * every.var())


@EVERY_CASE
@pytest.mark.parametrize("tiles", TILES[1:])
def test_normalising_by_caption_is_the_same_in_any_blocks_and_the_default_in_evaluation(
    regions: list[int], words: list[int], tiles: Tiles
) -> None:
    images, texts = packed(with_wholes(regions, 0)), packed(with_wholes(words, 1))
    measures = [built("saf") for _ in range(3)]
    for measure in measures[:2]:
        measure.filtration.by_caption = True
    evaluated = [measure(images, texts, tiles) for measure in measures]
    torch.testing.assert_close(evaluated[0], evaluated[2], rtol=0, atol=0)
    scores = [measure.train()(images, texts, how) for measure, how in zip(measures, (tiles, None, None), strict=True)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-12)
    if len(words) > 1 and len(regions) > 1:
        assert not torch.allclose(scores[1], scores[2], atol=1e-6)
    for one, other in zip(measures[0].buffers(), measures[1].buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_in_evaluation_nothing_is_learned() -> None:
    measure = built("saf")
    before = {key: value.clone() for key, value in measure.state_dict().items()}
    measure(packed(with_wholes([3, 2], 0)), packed(with_wholes([4, 1], 1)))
    assert all(torch.equal(before[key], value) for key, value in measure.state_dict().items())


def gradients(measure: AlignmentMeasure, images: PlainSets, texts: PlainSets, way: Any) -> dict[str, Tensor]:
    """Of a weighted sum of all similarities, to parameters, images and captions."""
    leaves = [[item.clone().requires_grad_() for item in side] for side in (images, texts)]
    measure.zero_grad()
    scores = way(measure, *leaves)
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(scores.shape, dtype=torch.float64, generator=generator)
    (scores * weights.to(scores.dtype)).sum().backward()
    named = [(f"side {i} item {k}", item) for i, side in enumerate(leaves) for k, item in enumerate(side)]
    named += list(measure.named_parameters())
    return {name: value.grad for name, value in named if value.grad is not None}


@EACH
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tiles", [None, Tiles(2, 9, 1)])
def test_gradients_are_those_of_plain_loops_where_blocks_are_made_again_too(
    tiles: Tiles | None, training: bool, kind: str
) -> None:
    images, texts = with_wholes([3, 1, 4, 3], 0), with_wholes([6, 1, 3, 6, 2], 1)
    measure = built(kind).train(training)
    in_blocks = gradients(measure, images, texts, lambda m, a, b: m(packed(a), packed(b), tiles))
    expected = gradients(measure, images, texts, plain)
    # A bias that shifts all scores of a softmax alike has none, or one of rounding.
    for name in set(expected) - set(in_blocks):
        assert name.endswith("key.bias")
        assert float(expected.pop(name).abs().max()) < 1e-12
    assert set(in_blocks) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(in_blocks[name], value, rtol=1e-8, atol=1e-10, msg=name)


class _Whole(nn.Module):
    def __init__(self, measure: AlignmentMeasure) -> None:
        super().__init__()
        self.measure = measure

    def forward(self, images: Sets, texts: Sets) -> Tensor:
        scores: Tensor = self.measure(images, texts, Tiles(1, 3, 1))
        return scores


@EACH
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_differences(training: bool, kind: str) -> None:
    measure = built(kind, dim=3, size=2).train(training)
    images, texts = packed(with_wholes([2, 1], 0, 3)), packed(with_wholes([2, 1], 1, 3))
    names = [name for name, _ in measure.named_parameters() if not name.endswith("key.bias")]
    weights = [dict(measure.named_parameters())[name] for name in names]

    def score(regions: Tensor, words: Tensor, *values: Tensor) -> Tensor:
        named = {f"measure.{name}": value for name, value in zip(names, values, strict=True)}
        sides = Sets(regions, images.lengths), Sets(words, texts.lengths)
        scores: Tensor = torch.func.functional_call(_Whole(measure), named, sides)
        return scores

    inputs = (images.vectors.requires_grad_(), texts.vectors.requires_grad_(), *weights)
    assert torch.autograd.gradcheck(score, inputs)


def kept_for_backward(measure: AlignmentMeasure, images: Sets, texts: Sets) -> int:
    """Bytes that a forward pass leaves for the backward pass, weights and inputs apart."""
    kept: dict[int, int] = {}
    known = {value.untyped_storage().data_ptr() for value in (*measure.parameters(), images.vectors, texts.vectors)}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = measure(images, texts)
    del held
    return sum(kept.values())


@EACH
def test_training_keeps_alignments_not_what_led_to_them(kind: str) -> None:
    measure = built(kind, 128, 8, torch.float32).train()
    images = packed(with_wholes([12] * 32, 0, 128, torch.float32))
    texts = packed(with_wholes([10] * 32, 1, 128, torch.float32))
    images.vectors.requires_grad_()
    pairs = 32 * 32 * 11
    assert kept_for_backward(measure, images, texts) < 0.5 * pairs * 128 * 4  # half of the differences of all pairs
    assert kept_for_backward(measure.eval(), images, texts) > pairs * 128 * 4


@EACH
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", ["no words", "no regions", "the same vectors", "one each", "as built"])
def test_degenerate_sets_have_similarities_and_gradients(case: str, training: bool, kind: str) -> None:
    one = case == "one each"
    # As built, biases are 0: the alignment of equal vectors is 0 too.
    measure = built(kind, type_=torch.float32, noise=0.0 if case == "as built" else 0.3).train(training)
    images = packed(with_wholes([1, 1], 0, 6, torch.float32) if one else with_wholes([1, 3], 0, 6, torch.float32))
    texts = packed(with_wholes([1, 1] if one else [1, 3], 1, 6, torch.float32))
    if case == "no words":
        texts.vectors.zero_()
    elif case == "no regions":
        images.vectors.zero_()
    elif case in ("the same vectors", "as built"):
        texts.vectors.copy_(images.vectors)
    scores = measure(
        Sets(images.vectors.requires_grad_(), images.lengths), Sets(texts.vectors.requires_grad_(), texts.lengths)
    )
    assert bool(scores.isfinite().all())
    scores.sum().backward()
    for value in (images.vectors, texts.vectors, *measure.parameters()):
        assert value.grad is None or bool(value.grad.isfinite().all())


@EACH
def test_float32_is_near_float64_at_published_size(kind: str) -> None:
    measure = built(kind, 1024, 256, noise=0.03)
    images, texts = (
        with_wholes([36, 36, 10], 0, 1024),
        with_wholes([8, 14, 30] * 6, 1, 1024),
    )  # enough for the fast products
    texts[0] = images[0][:9] + 0.5 * texts[0]  # words that are close to regions
    texts[0] /= texts[0].norm(dim=1, keepdim=True)
    with torch.no_grad():
        exact = measure(packed(images), packed(texts))
        rounded = measure.float()(packed([x.float() for x in images]), packed([x.float() for x in texts]))
    assert rounded.dtype == torch.float32 and float(exact.max() - exact.min()) > 1e-3
    torch.testing.assert_close(rounded.double(), exact, rtol=0, atol=1e-5)


@EACH
def test_gradients_in_float32_are_near_those_in_float64(kind: str) -> None:
    by_type = []
    for type_ in (torch.float64, torch.float32):
        measure = built(kind, 32, 16, type_).train()
        images, texts = (with_wholes(sizes, seed, 32, type_) for seed, sizes in enumerate(([9] * 18, [12, 7] * 20)))
        by_type.append(gradients(measure, images, texts, lambda m, a, b: m(packed(a), packed(b))))
    for name, exact in by_type[0].items():
        # A batch norm takes off again what this bias adds: rounding is all that it has.
        if name != "filtration.weights.bias":
            torch.testing.assert_close(
                by_type[1][name].double(), exact, rtol=1e-3, atol=1e-6 + 1e-4 * float(exact.abs().max()), msg=name
            )


@EACH
def test_a_similarity_does_not_depend_on_the_others_of_its_block(kind: str) -> None:
    measure = built(kind, 32, 16, torch.float32)
    images = packed(with_wholes([36] * 20 + [7, 3], 0, 32, torch.float32))
    texts = packed(with_wholes([9, 4, 9, 20, 1] * 20, 1, 32, torch.float32))
    with torch.no_grad():
        together = measure(images, texts)
        assert float(together.max() - together.min()) > 0.01
        for i, j in ((0, 0), (21, 3), (5, 99), (20, 50)):
            alone = measure(images[i : i + 1], texts[j : j + 1])
            assert abs(float(alone) - float(together[i, j])) < 1e-6


@EACH
def test_mixed_precision_rounds_products_in_training_and_nothing_in_evaluation(kind: str) -> None:
    measure = built(kind, type_=torch.float32)
    sides = [packed(with_wholes(sizes, seed, 6, torch.float32)) for seed, sizes in enumerate(([5, 3], [4, 7]))]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = measure.train()(*sides)
        with torch.inference_mode():
            ranked = measure.eval()(*sides)
    assert torch.equal(ranked, measure.eval()(*sides))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, rounded.bfloat16().float())  # the last step is in float32
    expected = measure.train()(*sides)
    assert not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.02)
    rounded.sum().backward()
    assert measure.local.weight.grad is not None and measure.local.weight.grad.dtype == torch.float32


@EACH
def test_attention_is_of_words_and_regions_without_the_whole_vectors(kind: str) -> None:
    measure, (image,), (caption,) = built(kind), with_wholes([5], 0), with_wholes([3], 1)
    weights = measure.attention(packed([image]), packed([caption]))
    torch.testing.assert_close(weights, attention(caption[1:], image[1:], 9.0))
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))
