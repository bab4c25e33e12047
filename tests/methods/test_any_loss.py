"""Any method can be trained with any loss that fits its similarity: pairs that nobody published learn too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from itrcore.data.feeding.batches import Batch
from itrcore.layers.progress import Progress
from itrcore.methods.objective import Objective
from itrcore.settings.methods import MethodSettings
from itrcore.training.step import make_optimiser
from tests.support.helpers import DIVERSITY, method_of, method_settings, pair_batch

WIDTH, N_WORDS, PAIRS, STEPS = 12, 30, 6, 60
TRIPLET = {"margin": 0.2, "warmup_epochs": 1}
OWN_SCALE = {"initial_scale": 14.3, "max_scale": 100.0}
LOSSES: dict[str, dict[str, Any]] = {
    "hinge": {"kind": "hinge", **TRIPLET},
    "self_expanding": {"kind": "self_expanding", **TRIPLET},
    "symmetric": {"kind": "symmetric", **OWN_SCALE},
    "sigmoid": {"kind": "sigmoid", **OWN_SCALE, "initial_bias": -5.0},
    "diversity": DIVERSITY,
}
UNUSUAL: list[tuple[str, str, dict[str, Any]]] = [
    ("vse_infty_bigru", "symmetric", {}),
    ("vse_infty_bert", "sigmoid", {}),
    ("vse_pp_bigru", "self_expanding", {}),
    ("esa_bigru", "hinge", {"views": 1}),
    ("esa_bert", "symmetric", {"views": 1}),
    ("esl_h_bert", "symmetric", {}),
    ("esl_a_bigru", "sigmoid", {}),
    ("dual_towers", "sigmoid", {}),
    ("esl_a_clip", "hinge", {}),
    ("scan_t2i_lse_bigru", "symmetric", {}),
    ("scan_i2t_avg_bert", "sigmoid", {}),
    ("saf_bigru", "symmetric", {}),
    ("sgr_bigru", "sigmoid", {}),
    ("lhsc_bigru", "self_expanding", {}),
    ("vse_infty_bigru", "diversity", {}),
    ("coder_bigru", "symmetric", {}),
]
EACH = pytest.mark.parametrize(("name", "kind", "model"), UNUSUAL, ids=[f"{name}, {kind}" for name, kind, _ in UNUSUAL])


def settings_of(name: str, kind: str, model: dict[str, Any]) -> MethodSettings:
    """A method's tiny settings with another loss; a scale that the model brings is not given again."""
    values = method_settings(name).model_dump(mode="json")
    brings = name.endswith(("clip", "towers"))
    loss = {key: value for key, value in LOSSES[kind].items() if key != "initial_scale" or not brings}
    return MethodSettings.model_validate({**values, "model": {**values["model"], **model}, "loss": loss})


def trained(objective: Objective, settings: MethodSettings, batch: Batch) -> list[float]:
    """Train on one batch over and over, step by step as the training loop does; the total of each step."""
    optimiser, factors = make_optimiser(objective, settings.recipe)
    for group, factor in zip(optimiser.param_groups, factors, strict=True):
        group["lr"] = settings.recipe.learning_rate * factor
    totals = []
    objective.train()
    for step in range(STEPS):
        torch.manual_seed(step)
        losses = objective(batch, Progress(1, step))
        optimiser.zero_grad()
        losses.total.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), settings.recipe.clip_norm)
        optimiser.step()
        objective.after_step()
        totals.append(losses.total.item())
    return totals


@EACH
def test_a_method_learns_with_a_loss_that_is_not_its_published_one(name: str, kind: str, model: dict[str, Any]) -> None:
    settings = settings_of(name, kind, model)
    method = method_of(settings, WIDTH, N_WORDS)
    objective = Objective.of(settings, method)
    batch = pair_batch(PAIRS, 1, None if settings.model.reads_pixels else WIDTH, N_WORDS)
    of_method = set(method.state_dict())
    of_loss = {key: value.detach().clone() for key, value in objective.loss.named_parameters()}

    totals = trained(objective, settings, batch)

    assert sum(totals[-5:]) < 0.2 * sum(totals[:5])
    with torch.no_grad():
        similarity = method.eval().similarity(method.encode_images(batch.images), method.encode_texts(batch.texts))
    assert similarity.argmax(0).tolist() == similarity.argmax(1).tolist() == list(range(PAIRS))
    own = {"symmetric": {"own_log_scale"}, "sigmoid": {"own_log_scale", "bias"}}.get(kind, set())
    assert set(of_loss) == own - ({"own_log_scale"} if settings.model.brings_scale else set())
    assert not any(value.equal(of_loss[key]) for key, value in objective.loss.named_parameters())
    assert set(method.state_dict()) == of_method  # a run's weights know nothing of the loss


@EACH
def test_every_parameter_is_optimised_once_and_those_of_the_loss_without_decay(
    name: str, kind: str, model: dict[str, Any]
) -> None:
    settings = settings_of(name, kind, model)
    objective = Objective.of(settings, method_of(settings, WIDTH, N_WORDS))
    optimiser, factors = make_optimiser(objective, settings.recipe)
    listed = [id(parameter) for group in optimiser.param_groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in objective.parameters())
    of_loss = {id(parameter) for parameter in objective.loss.parameters()}
    for group in optimiser.param_groups:
        inside = {id(parameter) for parameter in group["params"]}
        assert inside == of_loss or not inside & of_loss
        assert group["weight_decay"] == (0.0 if inside == of_loss else settings.recipe.weight_decay)
    assert len(factors) == len(optimiser.param_groups) == 1 + len(settings.recipe.factors) + bool(of_loss)


@pytest.mark.parametrize("kind", ["symmetric", "sigmoid"])
def test_a_scale_that_comes_with_a_clip_is_trained_once_at_the_clips_rate(kind: str) -> None:
    settings = settings_of("esl_h_clip", kind, {})
    method = method_of(settings, WIDTH, N_WORDS)
    objective = Objective.of(settings, method)
    optimiser, factors = make_optimiser(objective, settings.recipe)
    scale, before = method.clip.logit_scale, method.clip.logit_scale.item()
    (group,) = [at for at, group in enumerate(optimiser.param_groups) if any(p is scale for p in group["params"])]
    assert factors[group] == settings.recipe.factors["clip"] == 0.1
    for at, factor in enumerate(factors):
        optimiser.param_groups[at].update(lr=1e-3 * factor, weight_decay=0.0)
    objective(pair_batch(PAIRS, 1, None, N_WORDS), Progress(0, 0)).total.backward()
    optimiser.step()  # the first one of AdamW is of the learning rate, whatever the gradient's size
    assert abs(scale.item() - before) == pytest.approx(1e-4, rel=1e-2)
    assert method.state_dict()["clip.logit_scale"] == scale
