"""The loss that a recipe chooses: which go with which model, and what is said of one that does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from itrcore import registry
from itrcore.methods.contract import EmbeddingMethod
from itrcore.settings.losses import SelfExpandingSettings
from itrcore.settings.methods import MethodSettings
from tests.support.helpers import (
    CLUSTERS,
    DIVERSITY,
    METHODS,
    MOMENTUM,
    VECTOR_METHODS,
    method_of,
    method_settings,
    text_batch,
)
from tests.support.small_experiment import plain

TRIPLET = {"margin": 0.2, "warmup_epochs": 1}
OWN_SCALE = {"initial_scale": 14.3, "max_scale": 100.0}
LOSSES: dict[str, dict[str, Any]] = {
    "hinge": {"kind": "hinge", **TRIPLET},
    "self_expanding": {"kind": "self_expanding", **TRIPLET},
    "symmetric": {"kind": "symmetric", **OWN_SCALE},
    "sigmoid": {"kind": "sigmoid", **OWN_SCALE, "initial_bias": -10.0},
    "diversity": DIVERSITY,
}
ON_DEV = {"kind": "dev", "step": 0.05, "near": 0.9}
NEEDS_SCALE = "loss.initial_scale is missing; CLIP starts from 14.3, which is a temperature of 0.07"
BRINGS_SCALE = "remove loss.initial_scale: the scale comes with this model's CLIP"
VIEWS = (
    "loss.kind {} takes one view of each image and caption, and model.views is 2; choose loss.kind self_expanding, or set "
    "model.views to 1"
)


def without(loss: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in loss.items() if name != key}


def around(loss: dict[str, Any]) -> dict[str, Any]:
    """Queues for this loss."""
    return {**MOMENTUM, "loss": loss}


def experiment(method: str, loss: dict[str, Any], **model: Any) -> dict[str, Any]:
    """An experiment whose recipe is a method's with this loss."""
    data, values = plain(), method_settings(method).model_dump(mode="json", exclude_none=True)
    recipe = {"source": "a paper", **values, "model": {**values["model"], **model}, "loss": loss}
    runs = {"one": {"data": "tiny", "method": "vse", "seed": 1}}
    return data | {"methods": {"vse": recipe}, "profiles": {}, "runs": runs, "ensembles": {}}


def test_every_loss_of_the_registry_is_one_that_a_recipe_can_choose() -> None:
    assert set(LOSSES) == set(registry.LOSSES)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("name", METHODS)
def test_every_loss_goes_with_every_model_of_one_view(name: str, kind: str) -> None:
    values = method_settings(name).model_dump(mode="json")
    loss = LOSSES[kind]
    if name.startswith("esa"):
        values["model"]["views"] = 1
    if name.endswith(("clip", "towers")):
        loss = without(loss, "initial_scale")
    assert MethodSettings.model_validate({**values, "loss": loss}).loss.kind == kind


@pytest.mark.parametrize("kind", ["hinge", "symmetric", "sigmoid", "diversity"])
def test_a_loss_of_one_view_is_refused_for_a_model_of_several(kind: str, complaints: Any) -> None:
    assert complaints(experiment("esa_bigru", LOSSES[kind])) == [f"recipes/vse.yaml: {VIEWS.format(kind)}"]
    assert complaints(experiment("esa_bigru", LOSSES[kind], views=1)) == []


@pytest.mark.parametrize("views", [1, 2, 3])
def test_the_self_expanding_loss_takes_any_number_of_views(views: int, complaints: Any) -> None:
    assert complaints(experiment("esa_bigru", LOSSES["self_expanding"], views=views)) == []


@pytest.mark.parametrize("kind", ["symmetric", "sigmoid"])
def test_a_scale_has_one_origin(kind: str, complaints: Any) -> None:
    loss = LOSSES[kind]
    assert complaints(experiment("vse_pp_bigru", without(loss, "initial_scale"))) == [
        f"recipes/vse.yaml: {NEEDS_SCALE}"
    ]
    data = experiment("esl_h_clip", loss)
    data["datasets"]["tiny"]["shards"] = {"images": {"samples_per_shard": 10, "max_megapixels": 50}}
    data["datasets"]["tiny"]["vocabulary"]["word_pieces"] = {"pieces": 100, "min_count": 1}
    assert complaints(data)[0] == f"recipes/vse.yaml: {BRINGS_SCALE}"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (TRIPLET, "recipes/vse.yaml: loss: the key 'kind' is missing"),
        ({"kind": "hing", **TRIPLET}, "recipes/vse.yaml: loss: "),
        ({"kind": "hinge", **TRIPLET, "max_scale": 100.0}, "recipes/vse.yaml: loss: unknown key 'max_scale' (valid"),
        (without(LOSSES["sigmoid"], "initial_bias"), "recipes/vse.yaml: loss.initial_bias is missing"),
        ({**LOSSES["symmetric"], "initial_scale": 0.0}, "recipes/vse.yaml: loss.initial_scale: "),
    ],
    ids=["no kind", "unknown kind", "superfluous", "missing", "not positive"],
)
def test_what_is_wrong_in_a_loss_is_said_at_its_place(loss: dict[str, Any], message: str, complaints: Any) -> None:
    (line,) = complaints(experiment("vse_pp_bigru", loss))
    assert line.startswith(message)


def test_an_unknown_kind_is_told_which_there_are(complaints: Any) -> None:
    (line,) = complaints(experiment("vse_pp_bigru", {"kind": "hing", **TRIPLET}))
    assert all(kind in line for kind in LOSSES) and "'hing'" in line


@pytest.mark.parametrize("kind", LOSSES)
def test_a_profile_can_choose_another_loss_whole(kind: str, complaints: Any) -> None:
    data = experiment("vse_pp_bigru", LOSSES["hinge"])
    data["profiles"] = {"other": {"loss": LOSSES[kind]}}
    data["runs"]["one"]["profile"] = "other"
    assert complaints(data) == []


def test_of_another_kind_of_loss_nothing_of_the_recipes_stays(complaints: Any) -> None:
    data = experiment("vse_pp_bigru", LOSSES["hinge"])
    data["profiles"] = {"worst": {"loss": {"kind": "self_expanding", "margin": 0.3}}}
    data["runs"]["one"]["profile"] = "worst"
    (line,) = complaints(data)
    assert line == "profiles.worst over vse: loss.warmup_epochs: this key is missing"
    data["profiles"]["worst"]["loss"]["kind"] = "hinge"  # the same kind: what is not said stays
    assert complaints(data) == []


def test_warm_up_epochs_end_before_the_training_does() -> None:
    values = method_settings("esa_bigru").model_dump(mode="json")
    values["loss"]["warmup_epochs"] = values["recipe"]["epochs"]
    with pytest.raises(ValueError, match=r"loss\.warmup_epochs 3 must be less than recipe\.epochs 3"):
        MethodSettings.model_validate(values)
    values["loss"]["warmup_epochs"] -= 1
    assert isinstance(MethodSettings.model_validate(values).loss, SelfExpandingSettings)


@pytest.mark.parametrize("kind", ["hinge", "symmetric", "diversity"])
@pytest.mark.parametrize("name", VECTOR_METHODS)
def test_queues_go_with_every_loss_of_queries_and_every_model_of_one_vector(name: str, kind: str) -> None:
    values = method_settings(name).model_dump(mode="json")
    if name.startswith("esa"):
        values["model"]["views"] = 1
    inner = without(LOSSES[kind], "initial_scale") if name.endswith(("clip", "towers")) else LOSSES[kind]
    settings = MethodSettings.model_validate({**values, "loss": around(inner)})
    assert (settings.loss.kind, settings.loss.compared.kind) == ("momentum_contrast", kind)


@pytest.mark.parametrize("name", METHODS)
def test_settings_say_which_models_make_one_vector_and_how_wide_it_is(name: str) -> None:
    settings = method_settings(name)
    method = method_of(settings, 12, 30).eval()
    embeds = isinstance(method, EmbeddingMethod)
    assert (settings.model.vector_width is not None) == embeds == (name in VECTOR_METHODS)
    if embeds:
        assert method.encode_texts(text_batch([4, 6], 30)).vectors.shape == (2, settings.model.vector_width)


@pytest.mark.parametrize(
    ("name", "loss", "model", "message"),
    [
        ("esl_h_bert", MOMENTUM, {}, "loss.kind momentum_contrast keeps one vector of each image and caption, and model.kind esl"),
        ("vse_infty_bigru", {**MOMENTUM, "clusters": CLUSTERS}, {}, "loss.clusters are predicted from concepts, which model.kind"),
        ("esa_bigru", MOMENTUM, {}, "loss.kind momentum_contrast takes one view of each image and caption, and model.views is 2"),
        ("vse_infty_bigru", around(without(LOSSES["symmetric"], "initial_scale")), {}, "loss.loss.initial_scale is missing"),
        ("vse_infty_bigru", around({**LOSSES["hinge"], "warmup_epochs": 3}), {}, "loss.loss.warmup_epochs 3 must be less"),
        ("vse_infty_bigru", around(LOSSES["sigmoid"]), {}, "loss.loss"),
        ("vse_infty_bigru", {**MOMENTUM, "momentum": 1.0}, {}, "loss.momentum"),
        ("vse_infty_bigru", {**MOMENTUM, "queue": -1}, {}, "loss.queue"),
        ("coder_bigru", LOSSES["diversity"], {"alpha": 1.0}, "model.alpha: Input should be less than 1, not 1.0"),
        ("coder_bigru", MOMENTUM, {"alpha": {"kind": "dev", "step": 0.05}}, "model.alpha.near: this key is missing"),
        ("coder_bigru", LOSSES["diversity"], {"alpha": ON_DEV}, "model.alpha is chosen on dev, which goes with loss.kind"),
    ],
    ids=["sets", "clusters", "views", "scale", "warm-up", "pairwise", "momentum", "queue", "alpha", "near", "dev"],
)  # fmt: skip
def test_what_does_not_go_with_queues_is_said_at_its_place(
    name: str, loss: dict[str, Any], model: dict[str, Any], message: str, complaints: Any
) -> None:
    (line,) = complaints(experiment(name, loss, **model))
    assert line.startswith(f"recipes/vse.yaml: {message}")
