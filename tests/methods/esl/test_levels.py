"""ESL's levels: against plain loops in float64, and how their weights start."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from itrcore.methods.esl.levels import Levels, level_weights, selected, widths

Strategy = Literal["heuristic", "adaptive"]
STRATEGIES: list[Strategy] = ["heuristic", "adaptive"]


def unit(row: list[float]) -> list[float]:
    norm = math.sqrt(sum(value**2 for value in row)) + 1e-8
    return [value / norm for value in row]


def level(below: list[float], weights: Tensor, kernel: int) -> list[float]:
    """One level of one vector, number by number."""
    if weights.dim() == 3:  # (channels, 1, kernel)
        starts = range(0, len(below) // kernel * kernel, kernel)
        return [sum(float(channel[0, k]) * below[s + k] for channel in weights for k in range(kernel)) for s in starts]
    out = []
    for row in weights.tolist():
        mask = unit(row)
        second = sorted(mask, reverse=True)[min(2, len(mask)) - 1]
        out.append(sum(m * x for m, x in zip(mask, below, strict=True) if m >= second))
    return out


def plain(model: Levels, x: list[float], kernel: int) -> list[float]:
    below, out = x, list(x)
    for weights in (*model.kernels, *model.masks):
        above = level(below, weights.detach(), kernel)
        out += unit(above)
        below = unit(above) if model.from_normalised else above
    return out


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("from_normalised", [True, False])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_levels_are_those_of_plain_loops(strategy: Strategy, from_normalised: bool, kernel: int) -> None:
    torch.manual_seed(0)
    dim = 2 * kernel**3
    model = Levels(strategy, dim, 3, kernel, from_normalised).double()
    x = torch.randn(2, 3, dim, dtype=torch.float64)
    levels = model(x)
    assert levels.shape == (2, 3, sum(widths(dim, 3, kernel)))
    expected = [[plain(model, row.tolist(), kernel) for row in item] for item in x]
    torch.testing.assert_close(levels, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_widths_shrink_by_the_kernel() -> None:
    assert widths(512, 8, 2) == [512, 256, 128, 64, 32, 16, 8, 4, 2]
    assert sum(widths(512, 8, 2)) == 1022


def test_a_heuristic_level_is_the_sum_of_a_convolutions_channels() -> None:
    torch.manual_seed(0)
    model, x = Levels("heuristic", 12, 1, 3, True), torch.randn(5, 12)
    layer = nn.Conv1d(1, 4, 3, stride=3, bias=False)
    layer.load_state_dict({"weight": model.kernels[0]})
    above = layer(x[:, None]).sum(1)
    torch.testing.assert_close(model(x)[:, 12:], above / above.norm(dim=1, keepdim=True))


def test_a_masks_two_largest_entries_are_kept_not_its_largest_magnitudes() -> None:
    rows = selected(torch.tensor([[-9.0, 1.0, 2.0, 0.5], [-1.0, -2.0, -3.0, -4.0]]))
    assert (rows != 0).tolist() == [[False, True, True, False], [True, True, False, False]]


def test_entries_that_tie_with_a_masks_second_are_kept_too() -> None:
    assert int((selected(torch.tensor([[3.0, 1.0, 1.0, 0.0]])) != 0).sum()) == 3


def test_gradients_reach_a_masks_other_entries_through_its_length_alone() -> None:
    masks = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(selected, masks)
    coefficients = torch.arange(1.0, 7.0, dtype=torch.float64)
    (gradients,) = torch.autograd.grad((selected(masks) * coefficients).sum(), masks)
    # Dropping an entry's selection but not its share of the length: d/dm_j = −(Σ kept c·m) m_j / |m|³
    for row, gradient in zip(masks.detach(), gradients, strict=True):
        kept = row >= row.sort(descending=True).values[1]
        expected = -(coefficients * row)[kept].sum() * row / row.norm() ** 3
        torch.testing.assert_close(gradient[~kept], expected[~kept], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_levels_start_as_the_released_layers_do(strategy: Strategy) -> None:
    torch.manual_seed(0)
    state = Levels(strategy, 512, 8, 2, True).state_dict()
    if strategy == "heuristic":
        assert [tuple(value.shape) for value in state.values()] == [(4, 1, 2)] * 8
        entries = torch.cat([Levels("heuristic", 512, 8, 2, True).state_dict()["kernels.0"] for _ in range(200)])
        layer = torch.cat([nn.Conv1d(1, 4, 2, bias=False).weight for _ in range(200)])
        assert entries.abs().max().item() == pytest.approx(layer.abs().max().item(), rel=0.02)
        assert entries.std().item() == pytest.approx(layer.std().item(), rel=0.05)
    else:
        assert [tuple(value.shape) for value in state.values()] == [(2**n, 2 ** (n + 1)) for n in range(8, 0, -1)]
        assert state["masks.0"].std().item() == pytest.approx(1.0, rel=0.02)


def test_level_weights_are_the_papers() -> None:
    s = torch.tensor([[0.1, -0.5, 0.3]], dtype=torch.float64)
    share, sharpness = torch.tensor([[0.25]], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    threshold = 0.25 * (0.5 - 0.1) + 0.1
    expected = [math.exp((abs(value) - threshold) * 3.0) * value for value in (0.1, -0.5, 0.3)]
    assert level_weights(s, share, sharpness).tolist() == pytest.approx(expected)
    assert level_weights(s, share, 0.0).tolist() == pytest.approx([0.1, -0.5, 0.3])
