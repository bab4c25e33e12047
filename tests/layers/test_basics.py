"""Unit length, masks of padded sets, and how linear layers start."""

from __future__ import annotations

import math

import torch
from torch import nn

from itrcore.layers.basics import l2, length_mask, row_by_row, xavier


def test_l2_adds_its_epsilon_to_the_norm_outside_the_root() -> None:
    tiny = torch.tensor([[3e-8, 4e-8]], dtype=torch.float64)
    # ‖v‖ = 5e-8: v / (5e-8 + 1e-8). Inside the root the result would be about v / 1e-4; without any it has length 1.
    torch.testing.assert_close(l2(tiny), torch.tensor([[0.5, 2 / 3]], dtype=torch.float64))
    assert torch.equal(l2(torch.zeros(2, 3)), torch.zeros(2, 3))
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.linalg.vector_norm(l2(x), dim=-1), torch.ones(4, 5))


def test_length_mask_marks_the_first_positions() -> None:
    assert length_mask(torch.tensor([2, 0, 3]), 3, torch.device("cpu")).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]


def test_xavier_sets_the_bias_to_zero_and_the_weights_by_both_widths() -> None:
    layer = xavier(nn.Linear(7, 500))
    bound = math.sqrt(6 / 507)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert torch.equal(layer.bias, torch.zeros(500))


def test_a_function_of_rows_sees_valid_rows_alone_in_order() -> None:
    sets = torch.arange(12.0).view(2, 3, 2)
    seen = []

    def summed(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows.tolist())
        return rows.sum(1, keepdim=True)

    assert row_by_row(summed, sets, torch.tensor([2, 1])).tolist() == [[[1.0], [5.0], [0.0]], [[13.0], [0.0], [0.0]]]
    assert row_by_row(summed, sets, torch.tensor([3, 3])).tolist() == [[[1.0], [5.0], [9.0]], [[13.0], [17.0], [21.0]]]
    assert seen == [[[0, 1], [2, 3], [6, 7]], sets.flatten(0, 1).tolist()]
