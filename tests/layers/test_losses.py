"""The losses against double loops over their formulas, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.layers.losses.symmetric import symmetric_cross_entropy
from itrcore.layers.losses.triplet import hinge_triplet, self_expanding_triplet

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


@pytest.mark.parametrize("n", [1, 2, 7])
def test_symmetric_cross_entropy_is_its_formula_and_so_are_its_gradients(n: int) -> None:
    scores, scale = scores_of(n, n), torch.tensor(14.0, dtype=torch.float64, requires_grad=True)
    loss = symmetric_cross_entropy(scores, scale)
    terms = []
    for i in range(n):
        right = torch.exp(scale * scores[i, i])
        terms.append(-torch.log(right / sum(torch.exp(scale * scores[i, j]) for j in range(n))))
        terms.append(-torch.log(right / sum(torch.exp(scale * scores[j, i]) for j in range(n))))
    naive = torch.stack(terms).mean()
    torch.testing.assert_close(loss, naive, rtol=0, atol=1e-12)
    for gradient, expected in zip(
        torch.autograd.grad(loss, (scores, scale)), torch.autograd.grad(naive, (scores, scale)), strict=True
    ):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
