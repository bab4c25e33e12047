"""What happens when in a training: learning rates, evaluations on dev within an epoch, what a method is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from itrcore.files import read_json
from itrcore.layers.losses.contract import Losses
from itrcore.layers.losses.triplet import SelfExpanding
from itrcore.layers.progress import Progress
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.methods.vse.esa import ESA
from itrcore.settings.optimisation import OptimisationSettings
from itrcore.training.loop import OnDev, Trainer, evaluation_steps
from itrcore.training.step import learning_rate
from tests.support.tiny_project import project, train_in, weights

STEPS = 15  # of an epoch of the tiny project: 120 captions in batches of 8


def recipe(schedule: dict[str, Any], epochs: int) -> OptimisationSettings:
    return OptimisationSettings.model_validate(
        {
            "optimiser": "adamw",
            "learning_rate": 5e-4,
            "weight_decay": 0.0,
            "batch_size": 2,
            "epochs": epochs,
            "evaluations": 1,
            "schedule": schedule,
            "clip_norm": 2.0,
        }
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_the_learning_rate_falls_when_the_stated_epochs_are_done(steps: int) -> None:
    stepped = recipe({"kind": "step", "epochs": [15, 20], "factor": 0.1}, 30)
    rates = [learning_rate(stepped, step, steps) for step in range(30 * steps)]
    assert rates == pytest.approx([5e-4] * 15 * steps + [5e-5] * 5 * steps + [5e-6] * 10 * steps)


@pytest.mark.parametrize(
    ("steps", "epochs", "warmup"), [(10, 3, 0.1), (7, 5, 0.25), (3, 2, 0.0), (1, 1, 0.9), (9, 1, 0.9)]
)
def test_cosine_rates_are_those_of_the_transformers_schedule(steps: int, epochs: int, warmup: float) -> None:
    from transformers import get_cosine_schedule_with_warmup

    total = steps * epochs
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=5e-4)
    published = get_cosine_schedule_with_warmup(optimiser, int(warmup * total), total)
    wanted = []
    for _ in range(total):
        wanted.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        published.step()
    cosine = recipe({"kind": "cosine", "warmup": warmup}, epochs)
    assert [learning_rate(cosine, step, steps) for step in range(total)] == pytest.approx(wanted, rel=1e-12)


def test_every_step_of_a_training_has_its_cosine_rate(tmp_path: Path, monkeypatch: Any) -> None:
    rates: list[float] = []
    original = torch.optim.AdamW.step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return original(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    schedule = {"kind": "cosine", "warmup": 0.1}
    project(tmp_path, {"methods.esa.recipe.schedule": schedule, "methods.esa.recipe.evaluations": 2})
    run = train_in(tmp_path)
    wanted = recipe(schedule, 3).model_copy(update={"learning_rate": 2e-3})
    assert rates == [learning_rate(wanted, step, STEPS) for step in range(3 * STEPS)]
    assert rates[0] == 0.0 and max(rates) == 2e-3
    recorded = [record["learning_rate"] for record in read_json(run / "history.json")["evaluations"]]
    assert recorded == [rates[step - 1] for step in (8, 15, 23, 30, 38, 45)]  # of the last step before


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(10, 1, [10]), (10, 4, [3, 5, 7, 10]), (15, 2, [8, 15]), (2, 4, [1, 2]), (1, 4, [1]), (5, 5, [1, 2, 3, 4, 5])],
)
def test_dev_is_evaluated_after_these_steps_of_an_epoch(steps: int, evaluations: int, expected: list[int]) -> None:
    assert sorted(evaluation_steps(steps, evaluations)) == expected


def test_evaluations_are_evenly_spread_and_the_last_is_at_the_end_of_the_epoch() -> None:
    for steps in range(1, 60):
        for evaluations in range(1, 9):
            at = sorted(evaluation_steps(steps, evaluations))
            assert len(at) == min(steps, evaluations) and at[-1] == steps and at[0] >= 1
            gaps = [b - a for a, b in pairwise([0, *at])]
            assert max(gaps) - min(gaps) <= 1


FOUR = {"methods.esa.recipe.evaluations": 4}


def test_evaluations_within_an_epoch_change_no_step_and_share_its_losses(tmp_path: Path) -> None:
    histories = []
    for name, changes in (("one", {}), ("four", FOUR)):
        (tmp_path / name).mkdir()
        project(tmp_path / name, {**changes, "training.save_every_steps": 1000})
        histories.append(read_json(train_in(tmp_path / name) / "history.json")["evaluations"])
    once, often = histories
    assert [record["evaluation"] for record in often] == list(range(1, 13))
    parts = [0.27, 0.53, 0.73, 1]  # of 15 steps, 4, 8, 11 and all
    assert [record["epoch"] for record in often] == pytest.approx(
        [epoch + part for epoch in range(3) for part in parts]
    )
    assert [(record["evaluation"], record["epoch"]) for record in once] == [(1, 1), (2, 2), (3, 3)]
    for epoch, whole in enumerate(once):
        within = often[4 * epoch : 4 * epoch + 4]
        assert within[-1]["dev"] == whole["dev"] and within[-1]["learning_rate"] == whole["learning_rate"]
        for term, value in whole["losses"].items():
            mean = (
                sum(steps * record["losses"][term] for steps, record in zip((4, 4, 3, 4), within, strict=True)) / STEPS
            )
            assert mean == pytest.approx(value, rel=1e-9)
        assert len({record["losses"]["total"] for record in within}) == 4  # each its own, not sums so far
    for record in often:
        assert record["seconds"] > 0 and record["pairs_per_second"] > 0


@pytest.mark.parametrize(
    ("values", "best"), [([5, 6, 9, 7, 8, 4], 1.53), ([5, 9, 9, 9, 9, 9], 1), ([5, 6, 7, 8, 9, 10], 3)]
)
def test_the_best_of_all_evaluations_is_kept_also_from_the_middle_of_an_epoch(
    values: list[float], best: float, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    project(tmp_path, {"methods.esa.recipe.evaluations": 2})
    seen: list[dict[str, Any]] = []
    original = Trainer.evaluate_dev

    def evaluate(self: Trainer, *arguments: Any) -> OnDev:
        seen.append({name: tensor.clone() for name, tensor in self.method.state_dict().items()})
        found = original(self, *arguments)
        return replace(found, dev=found.dev.model_copy(update={"rsum": values[len(seen) - 1]}))

    monkeypatch.setattr(Trainer, "evaluate_dev", evaluate)
    run = train_in(tmp_path)
    assert read_json(run / "run.json")["best_epoch"] == read_json(run / "history.json")["best_epoch"] == best
    kept = load_file(run / "model.safetensors")
    number = values.index(max(values))
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[number].items())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in seen[number - 1].items())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f"rsum {max(values):6.1f}  " in line][:1]
    assert line.startswith(f"epoch {best:>4g}  loss ") and line.endswith("best so far")


def test_method_and_loss_are_told_epoch_step_and_share_and_called_before_epochs_and_after_steps(
    tmp_path: Path, monkeypatch: Any
) -> None:
    told: list[Any] = []
    forward = SelfExpanding.forward

    def noted(self: SelfExpanding, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        told.append(progress)
        return forward(self, scores, progress)

    monkeypatch.setattr(SelfExpanding, "forward", noted)
    monkeypatch.setattr(ESA, "begin_epoch", lambda self, epoch: told.append(f"epoch {epoch}"))
    monkeypatch.setattr(SelfExpanding, "after_step", lambda self: told.append("stepped"))
    project(tmp_path, {"methods.esa.recipe.evaluations": 2})
    train_in(tmp_path)
    wanted: list[Any] = []
    for epoch in range(3):
        wanted.append(f"epoch {epoch}")
        for step in range(STEPS):
            wanted += [Progress(epoch, epoch * STEPS + step, step / STEPS), "stepped"]
    assert told == wanted


def bias(method: Method[Any, Any]) -> Tensor:
    return method.get_parameter("regions.fc.bias")


def test_what_after_step_sets_is_what_is_evaluated_kept_and_trained_on(tmp_path: Path, monkeypatch: Any) -> None:
    project(tmp_path)
    free = weights(train_in(tmp_path))
    seen: list[float] = []
    forward, evaluate = Objective.forward, Trainer.evaluate_dev

    def limit(self: Objective) -> None:
        with torch.no_grad():
            bias(self.method).fill_(0.5)

    def noted_loss(self: Objective, *arguments: Any) -> Losses:
        seen.append(float(bias(self.method).detach().mean()))
        return forward(self, *arguments)

    def noted_evaluation(self: Trainer, *arguments: Any) -> OnDev:
        seen.append(float(bias(self.method).detach().mean()))
        return evaluate(self, *arguments)

    monkeypatch.setattr(Objective, "after_step", limit)
    monkeypatch.setattr(Objective, "forward", noted_loss)
    monkeypatch.setattr(Trainer, "evaluate_dev", noted_evaluation)
    run = train_in(tmp_path)
    assert len(seen) == 3 * (STEPS + 1) and set(seen[1:]) == {0.5}
    kept = load_file(run / "model.safetensors")["regions.fc.bias"]
    assert torch.equal(kept, torch.full_like(kept, 0.5)) and weights(run) != free
