"""Which optimiser a recipe names, and that it trains."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itrcore.files import read_json
from itrcore.methods.objective import Objective
from itrcore.training.adamw_bert import AdamWBert
from itrcore.training.step import make_optimiser
from tests.support.helpers import method_of, method_settings
from tests.support.parity_fixtures import published
from tests.support.tiny_project import PIXELS, prepare, project, train_in

KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adamw_bert": AdamWBert}


@pytest.mark.parametrize(
    ("name", "after"),
    [("adam", 1 - 0.01), ("adamw", 1 - 0.01 * 0.5 - 0.01), ("adamw_bert", (1 - 0.01) * (1 - 0.01 * 0.5))],
)
def test_weight_decay_is_a_gradient_of_adams_and_shrinks_weights_with_adamw(name: str, after: float) -> None:
    settings = method_settings("saf_bigru", optimiser=name, weight_decay=0.5, learning_rate=0.01)
    model: Any = nn.Linear(1, 1, bias=False)
    model.log_scale = model.captions_together = None
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


def test_parameters_that_are_updated_together_get_the_bits_of_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    started = [torch.randn(5, 3), torch.randn(7), torch.randn(2, 2)]
    gradients = [[torch.randn_like(value) for value in started] for _ in range(4)]
    counted, ways = AdamWBert._counted, []
    for together in (False, True):
        if together:  # as on a GPU
            monkeypatch.setattr(AdamWBert, "_counted", lambda self, given: [[*chain(*counted(self, given))]])
        parameters = [value.clone().requires_grad_() for value in started]
        optimiser = AdamWBert(parameters, lr=0.01, weight_decay=0.2)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient
            optimiser.step()
        ways.append(parameters)
    assert all(torch.equal(one, other) for one, other in zip(*ways, strict=True))
    assert not torch.equal(ways[0][0], started[0])


class PlainRule:
    """BERT's AdamW in float64, one parameter at a time, beside an optimiser whose gradients and rates it takes."""

    def __init__(self) -> None:
        self.steps = 0
        self.weights: dict[Tensor, Tensor] = {}
        self.means: dict[Tensor, Tensor] = {}
        self.squares: dict[Tensor, Tensor] = {}

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        self.steps += 1
        for group in optimiser.param_groups:
            for of in group["params"]:
                if of.grad is None:
                    continue
                gradient = of.grad.double()
                self.means[of] = 0.9 * self.means.get(of, torch.zeros_like(gradient)) + 0.1 * gradient
                self.squares[of] = 0.999 * self.squares.get(of, torch.zeros_like(gradient)) + 0.001 * gradient**2
                corrected = group["lr"] * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
                weight = self.weights.setdefault(of, of.detach().double())
                weight = weight - corrected * self.means[of] / (self.squares[of].sqrt() + 1e-6)
                self.weights[of] = weight - group["lr"] * group["weight_decay"] * weight


def test_sixty_steps_of_esl_clip_follow_berts_rule_at_the_published_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = published("esl_h_clip").recipe
    assert recipe.optimiser == "adamw_bert" == published("esl_a_clip").recipe.optimiser
    rule, step = PlainRule(), AdamWBert.step

    def spy(self: AdamWBert, *arguments: Any, **named: Any) -> Any:
        rule.step(self)
        return step(self, *arguments, **named)

    monkeypatch.setattr(AdamWBert, "step", spy)
    keys = ("optimiser", "learning_rate", "factors", "weight_decay", "clip_norm", "schedule")
    rates = {f"methods.esl_clip.recipe.{key}": recipe.model_dump()[key] for key in keys}
    size = {"methods.esl_clip.recipe.batch_size": 8, "methods.esl_clip.recipe.epochs": 4}  # 60 steps
    prepare(tmp_path, {**PIXELS, **rates, **size})
    train_in(tmp_path)
    assert rule.steps == 60
    for ours, wanted in rule.weights.items():
        torch.testing.assert_close(ours.detach().double(), wanted, rtol=1e-6, atol=1e-6)  # float32 rounds each step


def test_berts_rule_in_float64_is_its_formula_and_leaves_what_has_no_gradient() -> None:
    torch.manual_seed(0)
    used, idle = (nn.Parameter(torch.randn(50, dtype=torch.float64)) for _ in range(2))
    before = idle.detach().clone()
    optimiser, rule = AdamWBert([{"params": [used, idle]}], lr=0.01, weight_decay=0.2), PlainRule()
    for _ in range(20):
        used.grad = torch.randn(50, dtype=torch.float64) * 10.0 ** torch.randint(-9, 1, (50,))
        rule.step(optimiser)
        optimiser.step()
    torch.testing.assert_close(used.detach(), rule.weights[used], rtol=0, atol=1e-13)
    assert idle.equal(before) and idle not in optimiser.state
    assert optimiser.step(lambda: 2.5) == 2.5
