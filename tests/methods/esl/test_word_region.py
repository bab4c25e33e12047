"""ESL's word–region similarity: against a plain statement pair by pair, its gradients, and how blocks are cut."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from itrcore.layers.encoded import Sets
from itrcore.layers.product import product
from itrcore.methods.esl import word_region
from itrcore.methods.esl.levels import widths
from itrcore.methods.esl.word_region import Tiles, WordRegionMeasure, similarities

Strategy = Literal["heuristic", "adaptive"]
STRATEGIES: list[Strategy] = ["heuristic", "adaptive"]
SMALL = Tiles(regions=1, words=7, elements=1)  # many tiles, and scored caption by caption


def sets(lengths: list[int], width: int, seed: int, kind: torch.dtype = torch.float64) -> Sets:
    generator = torch.Generator().manual_seed(seed)
    return Sets(torch.randn(sum(lengths), width, dtype=kind, generator=generator), torch.tensor(lengths))


def plain_pair(attn: Tensor, smooth: float) -> Tensor:
    """One caption's words × one image's regions, as the paper states it."""

    def weighted(a: Tensor) -> Tensor:  # (queries, sources): each query's softmax, the norm is each source's
        gate = torch.where(a > 0, a.tanh(), 0.1 * a.tanh())
        gate = gate / (gate.pow(2).sum(0, keepdim=True).sqrt() + 1e-8)
        return (a * torch.softmax(smooth * gate, dim=1)).sum(1).mean()

    return weighted(attn) + weighted(attn.T)


def plain(images: Sets, texts: Sets, smooth: float) -> Tensor:
    """Every pair; regions are projected already."""
    all_regions = torch.split(images.vectors, images.lengths.tolist())
    all_words = torch.split(texts.vectors, texts.lengths.tolist())
    return torch.stack([torch.stack([plain_pair(w @ y.T, smooth) for w in all_words]) for y in all_regions])


@pytest.mark.parametrize("tiles", [None, SMALL, Tiles(regions=40, words=9, elements=300)])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([5, 5, 5], [4, 4, 4]),
        ([3, 1, 7, 2, 7], [6, 1, 3, 6, 2, 9, 3]),
        ([1], [1]),
        ([4] * 40 + [2], [3]),
    ],
)
def test_similarities_are_those_of_every_pair_alone(
    regions: list[int], words: list[int], grad: bool, tiles: Tiles | None
) -> None:
    images, texts = sets(regions, 6, 0), sets(words, 6, 1)
    with torch.set_grad_enabled(grad):
        scores = similarities(images, texts, torch.tensor(14.0, dtype=torch.float64), tiles)
    torch.testing.assert_close(scores, plain(images, texts, 14.0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_float32_is_near_float64_for_small_and_large_products(scale: float) -> None:
    images, texts = sets([36] * 20 + [11], 64, 0, torch.float32), sets([9, 30, 64, 14, 9], 64, 1, torch.float32)
    images = Sets(images.vectors * scale / 8, images.lengths)
    with torch.inference_mode():
        scores = similarities(images, texts, torch.tensor(1 / 0.07))
    exact = plain(Sets(images.vectors.double(), images.lengths), Sets(texts.vectors.double(), texts.lengths), 1 / 0.07)
    torch.testing.assert_close(scores.double(), exact, rtol=0, atol=2e-6 * max(1.0, scale))


def test_gradients_are_right() -> None:
    images, texts = sets([3, 1, 2], 4, 0), sets([2, 3, 1, 3], 4, 1)

    def score(regions: Tensor, words: Tensor, smooth: Tensor) -> Tensor:
        return similarities(Sets(regions, images.lengths), Sets(words, texts.lengths), smooth, SMALL)

    smooth = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(score, (images.vectors.requires_grad_(), texts.vectors.requires_grad_(), smooth))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_measures_gradients_are_right(strategy: Strategy) -> None:
    torch.manual_seed(0)
    measure = WordRegionMeasure(strategy, 4, 1, 2).double()
    with torch.no_grad():
        measure.weight.copy_(torch.tensor([[0.3, -0.2]]))  # at ties of the largest and smallest there is a kink
        measure.log_lambda.fill_(0.5)
    images, texts = sets([2, 3], 6, 0), sets([2, 1, 2], 6, 1)
    names = [f"measure.{name}" for name, _ in measure.named_parameters()]

    def score(*values: Tensor) -> Tensor:
        scores: Tensor = torch.func.functional_call(
            _Whole(measure), dict(zip(names, values, strict=True)), (images, texts)
        )
        return scores

    assert torch.autograd.gradcheck(score, tuple(measure.parameters()))


class _Whole(torch.nn.Module):
    def __init__(self, measure: WordRegionMeasure) -> None:
        super().__init__()
        self.measure = measure

    def forward(self, images: Sets, texts: Sets) -> Tensor:
        scores: Tensor = self.measure(Sets(self.measure.project(images.vectors), images.lengths), texts)
        return scores


def test_a_product_of_zeros_has_gradients() -> None:
    images, texts = sets([3, 2], 4, 0), sets([2, 3], 4, 1)
    regions = torch.zeros_like(images.vectors).requires_grad_()
    smooth = torch.tensor(14.0, dtype=torch.float64)
    scores = similarities(Sets(regions, images.lengths), texts, smooth)
    (gradient,) = torch.autograd.grad(scores.sum(), regions)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_measure_is_the_papers(strategy: Strategy) -> None:
    torch.manual_seed(0)
    measure = WordRegionMeasure(strategy, 8, 2, 2).double()
    with torch.no_grad():
        for parameter in measure.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    sizes = widths(8, 2, 2)
    images, texts = sets([3, 5], sum(sizes), 0), sets([4, 2, 4], sum(sizes), 1)
    s = measure.weight[0].tolist()
    low, high = min(map(abs, s)), max(map(abs, s))
    threshold = (high - low) * measure.sigma.item() + low
    sharpness = math.exp(measure.log_lambda.item()) if strategy == "heuristic" else 0.0
    projected: list[Tensor] = []
    for y in torch.split(images.vectors, sizes, dim=-1):
        number = len(projected)
        mask, norm = measure.masks[number], measure.norms[number]
        normal = (mask - mask.mean()) / (mask.var(unbiased=False) + 1e-8).sqrt()
        d = normal * norm.weight + norm.bias
        projected.append(y @ d.T * math.exp((abs(s[number]) - threshold) * sharpness) * s[number])
    expected = plain(Sets(torch.cat(projected, -1), images.lengths), texts, math.exp(measure.log_smooth.item()))
    scores = measure(Sets(measure.project(images.vectors), images.lengths), texts)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-10)


def test_the_measure_starts_as_the_released_one() -> None:
    state = WordRegionMeasure("heuristic", 16, 2, 2).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items() if not name.startswith("norms")} == {
        **{f"masks.{level}": (size, size) for level, size in enumerate((16, 8, 4))},
        "weight": (1, 3),
        **dict.fromkeys(("sigma", "log_lambda", "log_smooth"), (1, 1)),
    }
    assert state["norms.2.weight"].shape == state["norms.2.bias"].shape == (4, 4)
    assert bool((state["weight"] == 0.1).all())
    assert [state[name].item() for name in ("sigma", "log_lambda", "log_smooth")] == pytest.approx(
        [0, 3, math.log(1 / 0.07)]
    )


def test_mixed_precision_rounds_products_in_training_and_nothing_in_evaluation() -> None:
    torch.manual_seed(0)
    measure = WordRegionMeasure("heuristic", 8, 2, 2)
    images, texts = sets([3, 5], 14, 0, torch.float32), sets([4, 2], 14, 1, torch.float32)

    def scores() -> Tensor:
        similarity: Tensor = measure(Sets(measure.project(images.vectors), images.lengths), texts)
        return similarity

    expected = scores()
    with torch.autocast("cpu", torch.bfloat16):
        rough = scores()
        with torch.inference_mode():
            assert torch.equal(scores(), expected)
    assert rough.dtype == torch.float32 and not torch.equal(rough, expected)
    torch.testing.assert_close(rough, expected, rtol=0, atol=0.02)


def test_tiles_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def watched(a: Tensor, b: Tensor, narrow: None) -> Tensor:
        made.append((len(a), len(b)))
        return product(a, b)

    monkeypatch.setattr(word_region, "product", watched)
    lengths = [1 + number % 9 for number in range(50)]
    with torch.inference_mode():
        similarities(sets([4] * 70, 6, 0), sets(lengths, 6, 1), torch.tensor(1.0), Tiles(64, 40, 100))
    assert max(words for words, _ in made) <= 40 + 9
    assert max(columns for _, columns in made) <= 64
    assert sum(words * columns for words, columns in made) == sum(lengths) * 4 * 70  # nothing twice, no padding
