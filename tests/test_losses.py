"""The losses against double loops over their formulas, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.losses import hinge_triplet, self_expanding_triplet

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
@pytest.mark.parametrize(("n", "views"), [(1, 2), (2, 2), (5, 2), (3, 3), (6, 1)])
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
def test_gradients_agree_with_finite_differences(hardest: bool) -> None:
    assert torch.autograd.gradcheck(lambda scores: self_expanding_triplet(scores, 2, MARGIN, hardest), scores_of(6, 3))


def test_one_view_per_item_is_the_plain_hinge_loss() -> None:
    scores = scores_of(6, 0)
    for hardest in (False, True):
        assert self_expanding_triplet(scores, 1, MARGIN, hardest) == hinge_triplet(scores, MARGIN, hardest)


def test_views_of_one_item_are_never_each_others_negatives() -> None:
    # Inside the blocks one positive is far better than the others; outside, nothing comes near a margin.
    scores = torch.full((6, 6), -1.0, dtype=torch.float64)
    for item in range(3):
        scores[2 * item : 2 * item + 2, 2 * item : 2 * item + 2] = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert self_expanding_triplet(scores, 2, MARGIN, False) == 0
    assert self_expanding_triplet(scores, 2, MARGIN, True) == 0


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
