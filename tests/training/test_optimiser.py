"""Which optimiser a recipe names, and that it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from itrcore.files import read_json
from itrcore.methods.objective import Objective
from itrcore.training.loop import make_optimiser
from tests.support.helpers import method_of, method_settings
from tests.support.tiny_project import project, train_in

KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize(("name", "after"), [("adam", 1 - 0.01), ("adamw", 1 - 0.01 * 0.5 - 0.01)])
def test_weight_decay_is_a_gradient_of_adams_and_shrinks_weights_with_adamw(name: str, after: float) -> None:
    settings = method_settings("saf_bigru", optimiser=name, weight_decay=0.5, learning_rate=0.01)
    model: Any = nn.Linear(1, 1, bias=False)
    model.log_scale = None
    nn.init.ones_(model.weight)
    optimiser, factors = make_optimiser(Objective.of(settings, model), settings.recipe)
    assert type(optimiser) is KINDS[name] and factors == [1.0]
    model(torch.ones(1)).sum().backward()
    optimiser.step()  # the first one is of the learning rate, whatever the gradient's size
    assert model.weight.item() == pytest.approx(after, abs=1e-6)


def test_what_a_loss_learns_is_trained_without_decay() -> None:
    loss = {"kind": "symmetric", "initial_scale": 10.0, "max_scale": 100.0}
    settings = method_settings("vse_pp_bigru", loss=loss, weight_decay=0.5, learning_rate=0.01)
    objective = Objective.of(settings, method_of(settings, 4, 20))
    optimiser, factors = make_optimiser(objective, settings.recipe)
    *_, last = optimiser.param_groups
    assert last["params"] == list(objective.loss.parameters()) and last["weight_decay"] == 0.0
    assert factors == [1.0, 1.0]


def test_a_training_with_adam_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[type] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *arguments: Any, **named: Any) -> Any:
        used.append(type(self))
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    run = {"data": "tiny", "method": "saf", "seed": 1}
    project(tmp_path, {"runs.three": run, "methods.saf.loss.warmup_epochs": 0})
    records = read_json(train_in(tmp_path, "three") / "history.json")["evaluations"]
    assert used == [torch.optim.Adam] * 45
    losses = [record["losses"]["total"] for record in records]
    assert losses[-1] < losses[0]
