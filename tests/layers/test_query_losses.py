"""Losses of queries with any number of others, against loops over their formulas in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from itrcore import registry
from itrcore.layers.losses.contract import Similarities
from itrcore.layers.losses.diversity import diversity_sensitive
from itrcore.layers.losses.queries import QueryLoss
from itrcore.layers.progress import Progress
from itrcore.settings.losses import DiversitySettings, HingeSettings, SymmetricSettings

SETTINGS = {
    "diversity": DiversitySettings(kind="diversity", scale=90.0, threshold=0.5, warmup_epochs=1, warmup_scale=14.3),
    "hinge": HingeSettings(kind="hinge", margin=0.2, warmup_epochs=1),
    "symmetric": SymmetricSettings(kind="symmetric", initial_scale=14.3, max_scale=100.0),
}


def loss_of(kind: str) -> QueryLoss:
    made: Any = registry.load(registry.LOSSES[kind])(SETTINGS[kind], Similarities(1, None))
    assert isinstance(made, QueryLoss)
    return made.double()


def naive(kind: str, match: Tensor, negatives: list[Tensor], epoch: int) -> Tensor:
    """Of one query."""
    if kind == "diversity" and epoch:
        weights = [torch.exp(90.0 * (score - 0.5)) for score in negatives]
        return torch.log(1 + sum(weights, match.new_zeros(()))) / 90.0 - torch.log(1 + match.clamp(min=0))
    if kind == "hinge":
        costs = [(0.2 + score - match).clamp(min=0) for score in negatives]
        return (max(costs) if epoch else sum(costs, match.new_zeros(()))) if costs else match.new_zeros(())
    shares = [torch.exp(14.3 * score) for score in (match, *negatives)]
    return -torch.log(shares[0] / sum(shares))


def queries(n: int, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """match (n,), scores (n, k) with cosines of any size, negative (n, k); the first query has no negative."""
    generator = torch.Generator().manual_seed(seed)
    match, scores = (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1 for size in ((n,), (n, k)))
    negative = torch.rand(n, k, generator=generator) < 0.7
    negative[0] = False
    return match.requires_grad_(), scores.requires_grad_(), negative


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("kind", SETTINGS)
def test_each_query_has_the_loss_of_the_formula_and_so_has_its_gradient(kind: str, epoch: int) -> None:
    match, scores, negative = queries(6, 9, 1)
    each = loss_of(kind).each(match, scores, negative, Progress(epoch, 0))
    expected = torch.stack(
        [
            naive(kind, match[i], [scores[i, j] for j in range(9) if negative[i, j]], epoch)
            for i in range(len(match))
        ]
    )  # fmt: skip
    torch.testing.assert_close(each, expected, rtol=1e-6, atol=1e-9)  # the scale is kept as a float32 logarithm
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad((each * weights).sum(), [match, scores]),
        torch.autograd.grad((expected * weights).sum(), [match, scores]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("kind", ["hinge", "symmetric", "diversity"])
def test_within_a_batch_of_different_images_it_is_the_loss_of_the_batch(kind: str, epoch: int) -> None:
    scores = 2 * torch.rand(5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 1
    loss, progress = loss_of(kind), Progress(epoch, 0)
    both = loss.both_ways(scores, ~torch.eye(5, dtype=torch.bool), progress)
    (alone,) = loss(scores, progress).values()
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("kind", SETTINGS)
def test_what_does_not_count_may_be_anything(kind: str) -> None:
    match, scores, negative = queries(6, 9, 3)
    loss = loss_of(kind)

    def learned(scores: Tensor) -> list[Tensor]:
        values = loss.each(match, scores, negative, Progress(1, 0))
        return [values, *torch.autograd.grad(values.sum(), [match, *loss.parameters()])]

    for one, other in zip(learned(scores), learned(scores.masked_fill(~negative, 1e4)), strict=True):
        assert one.isfinite().all() and one.equal(other)


def test_a_negative_weighs_by_its_score_and_by_the_others() -> None:
    """The gradient of negative n: `exp(μ(s − γ)) / (1 + Σ exp(μ(s − γ)))`."""
    scores = torch.tensor([[0.52, 0.5, 0.3], [0.52, 0.1, 0.1]], dtype=torch.float64, requires_grad=True)
    everyone = torch.ones(2, 3, dtype=torch.bool)
    loss = diversity_sensitive(torch.zeros(2, dtype=torch.float64), scores, everyone, 90.0, 0.5)
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    weights = torch.exp(90.0 * (scores.detach() - 0.5))
    torch.testing.assert_close(gradient, weights / (1 + weights.sum(dim=1, keepdim=True)))
    assert gradient[0, 0] < gradient[1, 0]  # the same score, beside another hard one


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_diversity_loss_is_finite_and_right_at_any_cosine(dtype: torch.dtype) -> None:
    corners = torch.tensor([-1.0, -0.5, 0.0, 0.5, 0.5078125, 1.0], dtype=dtype)  # exact in each type
    scores = corners.expand(6, 6).contiguous().requires_grad_()
    negative = torch.ones(6, 6, dtype=torch.bool).tril()
    loss = diversity_sensitive(corners, scores, negative, 90.0, 0.5)
    exact = diversity_sensitive(corners.double(), scores.double(), negative, 90.0, 0.5)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)
    assert loss[-1].item() == pytest.approx(0.5 - math.log(2), abs=1e-6)  # the largest, at 1, counts alone
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert gradient.isfinite().all() and (gradient[~negative] == 0).all()
