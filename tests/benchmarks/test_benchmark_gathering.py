"""What processes exchange in a step is counted, whole: against the sizes that follow from a batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.gathering import exchanged, sent
from benchmarks.gpu.cases import Case, Sizes
from itrcore.layers import together

SIZES = Sizes(8, 16, 5, 32, (64, 48), 16, different=16)
PROCESSES = 4


@pytest.fixture(autouse=True)
def threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", ["esa_bigru", "saf_bigru"])
def test_a_step_exchanges_captions_scores_and_gradients(recipe: str) -> None:
    counted = exchanged(recipe, PROCESSES, SIZES)
    case = Case(recipe, SIZES)
    views = case.settings.model.n_views
    assert counted["scores"] == counted["gradients of scores"] == (8 * views) ** 2 * 4
    assert counted["captions"] == counted["gradients of captions"]
    if recipe == "esa_bigru":
        assert counted["captions"] == 8 * views * 16 * 4
    assert counted["batch norm"] > 0
    learnt = sum(parameter.numel() for parameter in case.objective.parameters())
    assert counted["gradients"] == 4 * learnt
    assert together.count() == 1  # the others were only imagined


def test_what_is_summed_goes_around_twice() -> None:
    assert sent({"captions": 800, "gradients": 80}, 8) == pytest.approx(700 + 140)
