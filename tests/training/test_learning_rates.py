"""Parts with pretrained weights have learning rates of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.methods.objective import Objective
from itrcore.training.step import learning_rate, make_optimiser
from tests.support.helpers import METHODS, method_of, method_settings
from tests.support.tiny_project import project, train_in


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_optimised_once_and_a_berts_or_clips_at_its_own_rate(name: str) -> None:
    settings = method_settings(name, weight_decay=0.03)
    method = method_of(settings, 6, 20)
    optimiser, factors = make_optimiser(Objective.of(settings, method), settings.recipe)
    groups = optimiser.param_groups
    listed = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(listed) == sorted(map(id, method.parameters()))
    if name.startswith("coder"):  # whose graph learns more slowly
        assert factors == [1.0, 0.4]
        return
    if name.endswith(("bigru", "towers")):
        assert factors == [1.0]
        return
    assert factors == [1.0, 0.1]
    part = method.clip if name.endswith("clip") else method.words.bert
    inner = {id(weight) for weight in part.parameters()}
    assert {id(weight) for weight in groups[1]["params"]} == inner
    assert len(groups[0]["params"]) > 0


def test_a_berts_rate_is_the_factor_times_the_schedules_in_every_epoch(tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[tuple[float, ...]] = []
    step = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *arguments: Any, **named: Any) -> Any:
        seen.append(tuple(value for group in self.param_groups for value in (group["lr"], group["weight_decay"])))
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    changes = {"methods.esa_bert.recipe.batch_size": 60, "methods.esa_bert.recipe.weight_decay": 0.02}
    run = {"data": "tiny", "method": "esa_bert", "seed": 1}
    recipe = project(tmp_path, {**changes, "runs.three": run}).method_of("three").recipe
    train_in(tmp_path, "three")
    rates = [learning_rate(recipe, step, 2) for step in range(6)]
    assert rates[-1] == pytest.approx(0.1 * rates[0])
    assert seen == [(rate, 0.02, rate * 0.1, 0.02) for rate in rates]
