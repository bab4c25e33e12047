"""Balanced assignment, and clusters that follow vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from itrcore.layers.basics import l2
from itrcore.layers.clusters import Clusters, balanced
from itrcore.settings.losses import ClusterSettings
from tests.support.helpers import CLUSTERS


def naive(scores: Tensor, iterations: int) -> Tensor:
    """SwAV's appendix, as it stands there: sums over items, then over clusters, each scaled to equal parts."""
    q = scores.exp().T
    q = q / q.sum()
    clusters, n = q.shape
    for _ in range(iterations):
        q = q / q.sum(dim=1, keepdim=True) / clusters
        q = q / q.sum(dim=0, keepdim=True) / n
    return (q * n).T


@pytest.mark.parametrize("iterations", [1, 3])
def test_shares_are_swavs_and_items_that_do_not_count_change_nothing(iterations: int) -> None:
    torch.manual_seed(1)
    scores, counts = 5 * torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 3 > 0
    shares = balanced(scores, counts, iterations)
    torch.testing.assert_close(shares[counts], naive(scores[counts], iterations))
    assert (shares[~counts] == 0).all()


def test_in_the_end_every_cluster_has_as_much() -> None:
    torch.manual_seed(2)
    shares = balanced(3 * torch.randn(40, 5) + torch.tensor([9.0, 0, 0, 0, 0]), torch.ones(40, dtype=torch.bool), 100)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(40))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((5,), 8.0), rtol=1e-3, atol=0)


def test_scores_of_any_size_give_finite_shares() -> None:
    shares = balanced(torch.tensor([[1e4, -1e4], [1e4, -1e4], [0.0, 0.0]]), torch.tensor([True, True, False]), 3)
    assert shares.isfinite().all()
    torch.testing.assert_close(shares.sum(dim=1), torch.tensor([1.0, 1.0, 0.0]))


def settings(**changes: object) -> ClusterSettings:
    return ClusterSettings.model_validate({**CLUSTERS, **changes})


def test_centres_find_groups_and_the_labels_are_learned_from_other_vectors() -> None:
    torch.manual_seed(3)
    groups = torch.arange(60) % 3
    vectors = l2(torch.randn(3, 16)[groups] + 0.2 * torch.randn(60, 16) + 2 * torch.randn(16))  # in a narrow cone
    others = l2(torch.randn(3, 16)[groups] + 0.2 * torch.randn(60, 16))
    clusters, counts = Clusters(settings(number=3, update=0.1), 16), torch.ones(60, dtype=torch.bool)
    for _ in range(60):
        clusters.move(vectors, clusters.labels(vectors, counts))
    labels = clusters.labels(vectors, counts)
    assert all(len(set(labels.argmax(dim=1)[groups == group].tolist())) == 1 for group in range(3))
    assert sorted(labels.argmax(dim=1)[:3].tolist()) == [0, 1, 2]
    before = clusters.loss(others, labels).mean()
    optimiser = torch.optim.Adam(clusters.parameters(), 0.05)
    for _ in range(50):
        optimiser.zero_grad()
        clusters.loss(others, labels).mean().backward()
        optimiser.step()
    assert clusters.loss(others, labels).mean() < 0.2 * before


def test_a_centre_without_members_stays_and_one_with_members_moves_towards_their_mean() -> None:
    clusters = Clusters(settings(number=2, update=0.5), 2)
    clusters.centres.copy_(torch.eye(2))
    vectors, labels = torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, -1.0]]), torch.tensor([[1.0, 0], [0.9, 0.1], [0, 0]])
    clusters.move(vectors, labels)  # the last vector does not count
    torch.testing.assert_close(clusters.centres, torch.stack([l2(torch.tensor([0.8, 0.4])), torch.tensor([0.0, 1.0])]))


def test_the_start_is_the_same_in_every_training_and_draws_nothing_from_it() -> None:
    torch.manual_seed(5)
    one = Clusters(settings(), 8)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    other = Clusters(settings(), 8)
    assert other.centres.equal(one.centres) and other.weight.equal(one.weight)
