"""Pooling operators against plain statements of their formulas, one item at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from itrcore.layers.basics import l2
from itrcore.layers.pooling import GPO, ExternalSpaceAttention, MeanPooling, set_pooling
from itrcore.settings.pooling import GPOSettings, MeanSettings
from tests.support.helpers import image_batch

DIM = 6
SETTINGS = GPOSettings(kind="gpo", code_dim=8, hidden_dim=5, temperature=0.1)


def gpo() -> GPO:
    torch.manual_seed(0)
    return GPO(SETTINGS).requires_grad_(False)


def naive_gpo(pooling: GPO, item: Tensor) -> Tensor:
    """item: (k, d), valid positions alone."""
    k, half = len(item), SETTINGS.code_dim // 2
    codes = torch.zeros(k, SETTINGS.code_dim)
    for position in range(k):
        for i in range(half):
            angle = position / 10000 ** (2 * i / SETTINGS.code_dim)
            codes[position, 2 * i], codes[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    out = pooling.gru(codes[None])[0][0]
    states = (out[:, : SETTINGS.hidden_dim] + out[:, SETTINGS.hidden_dim :]) / 2
    scores = [float(pooling.linear.weight[0] @ state) / SETTINGS.temperature for state in states]
    total = sum(math.exp(score) for score in scores)
    pooled = torch.zeros(item.shape[1])
    for dimension in range(item.shape[1]):
        values = sorted(item[:, dimension].tolist(), reverse=True)
        pooled[dimension] = sum(math.exp(s) / total * v for s, v in zip(scores, values, strict=True))
    return pooled


def test_gpo_is_its_formula_for_each_item_on_its_own_length() -> None:
    pooling, lengths = gpo(), [5, 2, 9, 1, 5, 3]
    batch = image_batch(lengths, DIM)
    out = pooling(batch.regions, batch.lengths)
    for row, length in enumerate(lengths):
        expected = naive_gpo(pooling, batch.regions[row, :length])
        torch.testing.assert_close(out[row], expected, rtol=1e-5, atol=1e-6)


def test_gpo_weights_differ_by_rank_so_that_the_formula_test_means_something() -> None:
    values = torch.eye(4)[:, :, None].expand(4, 4, DIM)  # a single 1 among zeros takes the weight of the first rank
    out = gpo()(values, torch.full((4,), 4))
    assert abs(float(out[0, 0]) - 0.25) > 1e-3


def test_gpo_does_not_mind_the_order_of_the_set() -> None:
    pooling, batch = gpo(), image_batch([7], DIM)
    shuffled = batch.regions[:, torch.randperm(7, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(pooling(shuffled, batch.lengths), pooling(batch.regions, batch.lengths))


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_gpo_ignores_padding_also_when_values_lie_below_any_stand_in(scale: float) -> None:
    pooling, batch = gpo(), image_batch([4, 2], DIM)
    regions = batch.regions * scale
    longer = nn.functional.pad(regions, (0, 0, 0, 5), value=1e9)
    torch.testing.assert_close(pooling(longer, batch.lengths), pooling(regions, batch.lengths))
    torch.testing.assert_close(
        pooling(regions, batch.lengths)[1], naive_gpo(pooling, regions[1, :2]), rtol=1e-5, atol=0
    )


def test_mean_pooling_is_the_mean_of_valid_positions() -> None:
    pooling, batch = MeanPooling(), image_batch([4, 1, 3], DIM)
    longer = nn.functional.pad(batch.regions, (0, 0, 0, 2), value=7.0)
    expected = torch.stack([batch.regions[row, :length].mean(0) for row, length in enumerate([4, 1, 3])])
    torch.testing.assert_close(pooling(batch.regions, batch.lengths), expected)
    torch.testing.assert_close(pooling(longer, batch.lengths), expected)


def test_settings_name_the_pooling() -> None:
    assert isinstance(set_pooling(SETTINGS), GPO)
    assert isinstance(set_pooling(MeanSettings(kind="mean")), MeanPooling)


def attention(scale: float = 1.0) -> ExternalSpaceAttention:
    torch.manual_seed(4)
    pooling = ExternalSpaceAttention(DIM).double()
    with torch.no_grad():
        pooling.linear.weight.mul_(scale)
        pooling.linear.bias.normal_()
    return pooling


def naive_attention(pooling: ExternalSpaceAttention, features: Tensor, mask: Tensor) -> Tensor:
    """−10000 before the softmax and 0 after it, per item, view and dimension."""
    n, k, d = features.shape
    out = torch.zeros(n, mask.shape[1], d, dtype=features.dtype)
    for item in range(n):
        scores = features[item] @ pooling.linear.weight.T + pooling.linear.bias
        for view in range(mask.shape[1]):
            for dimension in range(d):
                shown = [bool(mask[item, view, position]) for position in range(k)]
                masked = [float(scores[p, dimension]) if shown[p] else -10000.0 for p in range(k)]
                exponentials = [math.exp(score - max(masked)) for score in masked]
                weights = [e / sum(exponentials) if shown[p] else 0.0 for p, e in enumerate(exponentials)]
                out[item, view, dimension] = sum(weights[p] * features[item, p, dimension] for p in range(k))
    return out


def sets() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(5, 7, DIM, dtype=torch.float64, generator=generator)
    mask = torch.rand(5, 3, 7, generator=generator) > 0.3
    mask[0, 1] = False  # nothing shown in one view
    mask[1] = False  # nor in any view
    mask[2, 0] = torch.arange(7) == 3
    return features, mask


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_esa_pooling_is_the_masked_softmax_of_each_view(scale: float) -> None:
    pooling, (features, mask) = attention(scale), sets()
    with torch.no_grad():
        torch.testing.assert_close(pooling(features, mask), naive_attention(pooling, features, mask))
        assert torch.equal(pooling(features, mask)[1], torch.zeros(3, DIM, dtype=torch.float64))


def test_a_view_that_hides_the_highest_score_still_weighs_the_others() -> None:
    # The hidden score lies 300 above the shown ones: in float32 exp(−300) is 0, whoever shares its maximum loses all.
    pooling = ExternalSpaceAttention(1)
    nn.init.ones_(pooling.linear.weight)
    features = torch.tensor([[[300.0], [1.0], [0.0]]])
    mask = torch.tensor([[[True, True, True], [False, True, True]]])
    out = pooling(features, mask)[0, :, 0].tolist()
    assert out[0] == pytest.approx(300.0)
    assert out[1] == pytest.approx(math.e / (1 + math.e))


def test_gradients_stay_finite_where_a_view_shows_nothing() -> None:
    pooling, (features, mask) = attention().float(), sets()
    features = features.float().requires_grad_()
    l2(pooling(features, mask)).sum().backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert torch.equal(features.grad[1], torch.zeros(7, DIM))
    assert pooling.linear.weight.grad is not None
    assert pooling.linear.weight.grad.isfinite().all()


def test_esa_pooling_gradient_is_that_of_its_formula() -> None:
    pooling, (features, mask) = attention(), sets()
    assert torch.autograd.gradcheck(lambda x: pooling(x, mask[:, :2, :4]), features[:, :4].requires_grad_())
