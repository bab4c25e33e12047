"""The losses against double loops over their formulas, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itrcore.layers.losses.contract import Loss, Losses, Similarities
from itrcore.layers.losses.scale import ScaledLoss
from itrcore.layers.losses.sigmoid import Sigmoid, pairwise_sigmoid
from itrcore.layers.losses.symmetric import Symmetric, symmetric_cross_entropy
from itrcore.layers.losses.triplet import Hinge, SelfExpanding, hinge_triplet, self_expanding_triplet
from itrcore.layers.progress import Progress
from itrcore.settings.losses import HingeSettings, SelfExpandingSettings, SigmoidSettings, SymmetricSettings

MARGIN = 0.2


def naive_hinge(scores: Tensor, hardest: bool) -> Tensor:
    """`max(0, m + S[i,j] − S[i,i])` per row, `max(0, m + S[i,j] − S[j,j])` per column; sum, or max of each then sum."""
    n = len(scores)
    zero = scores.new_zeros(())
    rows = [[torch.clamp(MARGIN + scores[i, j] - scores[i, i], min=0) for j in range(n) if j != i] for i in range(n)]
    columns = [[torch.clamp(MARGIN + scores[i, j] - scores[j, j], min=0) for i in range(n) if i != j] for j in range(n)]
    picked = [torch.stack(costs).max() if hardest else torch.stack(costs).sum() for costs in rows + columns if costs]
    return torch.stack([zero, *picked]).sum()


def naive_self_expanding(scores: Tensor, views: int, hardest: bool) -> Tensor:
    """The same with the smallest score of an item's own V×V block part as the positive of each of its rows and columns."""
    total = scores.new_zeros(())
    size = len(scores)
    for side in (scores, scores.T):
        for row in range(size):
            own = [column for column in range(size) if column // views == row // views]
            positive = min(side[row, column] for column in own)
            costs = [torch.clamp(MARGIN + side[row, j] - positive, min=0) for j in range(size) if j not in own]
            if costs:
                total = total + (max(costs) if hardest else sum(costs))
    return total


def scores_of(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(size, size, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_hinge_triplet_is_its_formula_and_so_is_its_gradient(n: int, hardest: bool) -> None:
    scores = scores_of(n, n)
    loss = hinge_triplet(scores, MARGIN, hardest)
    naive = naive_hinge(scores, hardest)
    torch.testing.assert_close(loss, naive, rtol=0, atol=1e-12)
    if n > 1:
        (gradient,) = torch.autograd.grad(loss, scores)
        (expected,) = torch.autograd.grad(naive, scores)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize(("n", "views"), [(1, 2), (2, 2), (5, 2), (2, 3), (4, 3), (6, 1)])
def test_self_expanding_triplet_is_its_formula_and_so_is_its_gradient(n: int, views: int, hardest: bool) -> None:
    scores = scores_of(n * views, 10 * n + views)
    loss = self_expanding_triplet(scores, views, MARGIN, hardest)
    naive = naive_self_expanding(scores, views, hardest)
    torch.testing.assert_close(loss, naive, rtol=0, atol=1e-12)
    if n > 1:
        (gradient,) = torch.autograd.grad(loss, scores)
        (expected,) = torch.autograd.grad(naive, scores)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize(("n", "views"), [(5, 1), (4, 2), (3, 3)])
def test_gradients_agree_with_finite_differences(n: int, views: int, hardest: bool) -> None:
    scores = scores_of(n * views, 3)
    assert torch.autograd.gradcheck(lambda s: self_expanding_triplet(s, views, MARGIN, hardest), scores)
    if views == 1:
        assert torch.autograd.gradcheck(lambda s: hinge_triplet(s, MARGIN, hardest), scores)


def test_one_view_per_item_is_the_plain_hinge_loss() -> None:
    scores = scores_of(6, 0)
    for hardest in (False, True):
        assert self_expanding_triplet(scores, 1, MARGIN, hardest) == hinge_triplet(scores, MARGIN, hardest)


@pytest.mark.parametrize("hardest", [False, True])
@pytest.mark.parametrize("views", [2, 3])
def test_views_of_one_item_are_never_each_others_negatives(views: int, hardest: bool) -> None:
    n = 4
    own = torch.block_diag(*[torch.ones(views, views)] * n).bool()
    worst = torch.eye(n * views, dtype=torch.bool)  # each view's positive, of rows and columns, lies on the diagonal
    scores = scores_of(n * views, views).detach().masked_fill(worst, -0.6)

    def loss_and_gradient(own_others: float) -> tuple[Tensor, Tensor]:
        leaf = scores.masked_fill(own & ~worst, own_others).requires_grad_()
        loss = self_expanding_triplet(leaf, views, MARGIN, hardest)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    loss, gradient = loss_and_gradient(-0.55)
    most_alike = loss_and_gradient(10.0)  # by far the largest of every row and column
    assert loss > 0
    assert most_alike[0] == loss
    assert most_alike[1].equal(gradient)  # the same negatives are chosen
    assert not gradient[own & ~worst].any()


def test_the_positive_is_the_worst_view_not_the_best_nor_the_mean() -> None:
    scores = torch.full((4, 4), -1.0, dtype=torch.float64)
    scores[:2, :2] = torch.tensor([[0.9, 0.1], [0.9, 0.9]])
    scores[2:, 2:] = 0.9
    scores[0, 3] = 0.2  # against image row 0: 0.2 + 0.2 − 0.1; against column 3, whose positives are 0.9: nothing
    torch.testing.assert_close(self_expanding_triplet(scores, 2, MARGIN, True), torch.tensor(0.3, dtype=torch.float64))


def test_the_loss_is_a_sum_so_two_copies_of_a_batch_that_do_not_meet_cost_twice() -> None:
    scores = scores_of(4, 1).detach()
    far = torch.full_like(scores, -100.0)
    twice = torch.cat([torch.cat([scores, far], 1), torch.cat([far, scores], 1)])
    for hardest in (False, True):
        one = hinge_triplet(scores, MARGIN, hardest)
        assert one > 0
        torch.testing.assert_close(hinge_triplet(twice, MARGIN, hardest), 2 * one)


def test_warm_up_counts_every_negative_and_later_only_the_hardest() -> None:
    scores = torch.zeros(4, 4, dtype=torch.float64)  # every cost is the margin: 12 per direction, or 4
    torch.testing.assert_close(hinge_triplet(scores, MARGIN, False).item(), 24 * MARGIN)
    torch.testing.assert_close(hinge_triplet(scores, MARGIN, True).item(), 8 * MARGIN)


@pytest.mark.parametrize("shape", [(5, 5), (4, 6)])
def test_scores_that_do_not_split_into_views_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"\({shape[0]}, {shape[1]}\).*2 views"):
        self_expanding_triplet(torch.zeros(shape), 2, MARGIN, True)


def test_a_nan_score_makes_the_loss_nan_rather_than_vanish() -> None:
    scores = scores_of(4, 2).detach()
    scores[1, 2] = float("nan")
    for hardest in (False, True):
        assert hinge_triplet(scores, MARGIN, hardest).isnan()


def value_of(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64, requires_grad=True)


def assert_same_with_gradients(loss: Tensor, naive: Tensor, learned: Sequence[Tensor]) -> None:
    torch.testing.assert_close(loss, naive, rtol=0, atol=1e-12)
    gradients = zip(torch.autograd.grad(loss, learned), torch.autograd.grad(naive, learned), strict=True)
    for gradient, expected in gradients:
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_symmetric_cross_entropy_is_its_formula_and_so_are_its_gradients(n: int) -> None:
    scores, scale = scores_of(n, n), value_of(14.0)
    terms = []
    for i in range(n):
        right = torch.exp(scale * scores[i, i])
        terms.append(-torch.log(right / sum(torch.exp(scale * scores[i, j]) for j in range(n))))
        terms.append(-torch.log(right / sum(torch.exp(scale * scores[j, i]) for j in range(n))))
    naive = torch.stack(terms).mean()
    assert_same_with_gradients(symmetric_cross_entropy(scores, scale), naive, [scores, scale])


@pytest.mark.parametrize("bias", [-10.0, 0.5])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_pairwise_sigmoid_is_its_formula_and_so_are_its_gradients(n: int, bias: float) -> None:
    scores, scale, shift = scores_of(n, n), value_of(10.0), value_of(bias)
    total = scores.new_zeros(())
    for i in range(n):
        for j in range(n):
            z = 1.0 if i == j else -1.0
            total = total + torch.log(1 + torch.exp(-z * (scale * scores[i, j] + shift)))
    assert_same_with_gradients(pairwise_sigmoid(scores, scale, shift), total / n, [scores, scale, shift])


def test_pairwise_sigmoid_stays_finite_where_pairs_are_plain() -> None:
    scores = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    # Right by 100 costs nothing, wrong by 100 costs 100: image 1 is taken for caption 0, and not for its own.
    assert pairwise_sigmoid(scores, torch.tensor(100.0), torch.tensor(0.0)) == 100


def scaled(kind: str, initial: float | None, brought: nn.Parameter | None = None) -> ScaledLoss:
    """A loss whose scale stays below 20."""
    similarities = Similarities(1, brought)
    if kind == "sigmoid":
        sigmoid = SigmoidSettings(kind="sigmoid", initial_scale=initial, max_scale=20.0, initial_bias=-3.0)
        return Sigmoid(sigmoid, similarities)
    return Symmetric(SymmetricSettings(kind="symmetric", initial_scale=initial, max_scale=20.0), similarities)


SCALED = pytest.mark.parametrize("kind", ["symmetric", "sigmoid"])


@SCALED
def test_a_scale_of_the_losss_own_starts_as_told_and_is_trained(kind: str) -> None:
    loss, scores = scaled(kind, 5.0), scores_of(4, 0)
    assert loss.scale().item() == pytest.approx(5.0)
    assert {name for name, _ in loss.named_parameters()} == {"own_log_scale", *(["bias"] if kind == "sigmoid" else [])}
    (term,) = loss(scores, Progress(0, 0)).values()
    naive = symmetric_cross_entropy(scores, torch.tensor(5.0))
    if kind == "sigmoid":
        naive = pairwise_sigmoid(scores, torch.tensor(5.0), torch.tensor(-3.0))
    torch.testing.assert_close(term, naive, rtol=1e-6, atol=0)
    term.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in loss.parameters())


@SCALED
def test_a_scale_that_the_method_brings_is_used_and_is_no_parameter_of_the_loss(kind: str) -> None:
    brought = nn.Parameter(torch.tensor(math.log(14.0)))
    loss = scaled(kind, None, brought)
    own = {"bias"} if kind == "sigmoid" else set()
    assert {name for name, _ in loss.named_parameters()} == set(loss.state_dict()) == own
    assert loss.log_scale is brought
    (term,) = loss(scores_of(4, 0), Progress(0, 0)).values()
    term.backward()
    assert brought.grad is not None and brought.grad.any()
    with torch.no_grad():
        brought.fill_(math.log(2.0))
    assert loss.scale().item() == pytest.approx(2.0)


@SCALED
@pytest.mark.parametrize("initial", [5.0, None], ids=["its own", "brought"])
def test_a_scale_is_kept_below_its_limit_in_place_after_each_step(kind: str, initial: float | None) -> None:
    brought = None if initial else nn.Parameter(torch.tensor(0.0))
    loss = scaled(kind, initial, brought)
    log_scale = loss.log_scale
    for start, kept in ((5.0, math.log(20)), (2.5, 2.5), (-1.0, -1.0)):
        with torch.no_grad():
            log_scale.fill_(start)
        loss.after_step()
        assert log_scale.item() == pytest.approx(kept)
    assert loss.log_scale is log_scale and log_scale.requires_grad


@SCALED
def test_two_scales_or_none_are_refused(kind: str) -> None:
    for initial, brought in ((5.0, nn.Parameter(torch.tensor(0.0))), (None, None)):
        with pytest.raises(ValueError, match="a scale has one origin"):
            scaled(kind, initial, brought)


@pytest.mark.parametrize(("epoch", "hardest"), [(0, False), (1, False), (2, True), (3, True)])
def test_triplet_losses_take_the_hardest_negatives_when_the_warm_up_is_over(epoch: int, hardest: bool) -> None:
    scores = scores_of(6, 0)
    hinge = Hinge(HingeSettings(kind="hinge", margin=MARGIN, warmup_epochs=2), Similarities(1, None))
    assert hinge(scores, Progress(epoch, 0)) == {"hinge": hinge_triplet(scores, MARGIN, hardest)}
    settings = SelfExpandingSettings(kind="self_expanding", margin=MARGIN, warmup_epochs=2)
    for views in (1, 2, 3):
        terms = SelfExpanding(settings, Similarities(views, None))(scores, Progress(epoch, 0))
        assert terms == {"self_expanding": self_expanding_triplet(scores, views, MARGIN, hardest)}


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize(("n", "views"), [(2, 1), (7, 1), (5, 2), (4, 3)])
def test_the_loss_of_a_constant_similarity_is_known_beforehand_for_triplet_losses(
    n: int, views: int, epoch: int
) -> None:
    settings = SelfExpandingSettings(kind="self_expanding", margin=MARGIN, warmup_epochs=2)
    losses: list[Loss] = [SelfExpanding(settings, Similarities(views, None))]
    if views == 1:
        losses.append(Hinge(HingeSettings(kind="hinge", margin=MARGIN, warmup_epochs=2), Similarities(1, None)))
    for loss in losses:
        for value in (-1.0, 0.0, 0.7):
            scores = torch.full((n * views, n * views), value, dtype=torch.float64)
            total = float(Losses(loss(scores, Progress(epoch, 0))).total)
            assert total == pytest.approx(loss.constant(n, Progress(epoch, 0)), rel=1e-12)
    if epoch == 2:
        assert losses[0].constant(n, Progress(2, 0)) == pytest.approx(2 * MARGIN * n * views)


@pytest.mark.parametrize("n", [2, 7, 64])
def test_the_loss_of_a_constant_similarity_is_known_beforehand_for_losses_with_a_scale(n: int) -> None:
    symmetric, sigmoid = scaled("symmetric", 5.0), scaled("sigmoid", 5.0)

    def at(loss: Loss, value: float) -> float:
        scores = torch.full((n, n), value, dtype=torch.float64)
        return float(Losses(loss(scores, Progress(0, 0))).total.detach())

    for value in (-1.0, 0.0, 0.7):
        assert at(symmetric, value) == pytest.approx(symmetric.constant(n, Progress(0, 0)), rel=1e-6)
    # The sigmoid loss depends on the value: all of a wide grid are above the lowest, which the best one has.
    lowest = sigmoid.constant(n, Progress(0, 0))
    assert min(at(sigmoid, value) for value in np.linspace(-1, 1, 81)) >= lowest * (1 - 1e-6)
    bias = float(sigmoid.get_parameter("bias").detach())
    assert at(sigmoid, (-math.log(n - 1) - bias) / 5.0) == pytest.approx(lowest, rel=1e-6)


def test_the_total_is_the_sum_of_the_terms_times_the_weight() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(3.0)}
    assert float(Losses(terms).total) == 5
    assert float(Losses(terms, 0.25).total) == 1.25
