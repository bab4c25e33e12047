"""An experiment as settings: where it lies, and a method as recipe, variant and profile make it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.load import load
from itrcore.settings.optimisation import StepSchedule
from tests.support.small_experiment import EXPERIMENTS, SMALL, VSE, leaves_of, plain, write


def test_the_small_configuration_is_valid_and_a_profile_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    params = load(write(tmp_path))
    method, published = params.method_of("one"), params.recipes["vse"].settings
    assert (method.recipe.epochs, method.recipe.schedule) == (4, StepSchedule(kind="step", epochs=[3], factor=0.1))
    assert method.model.pooling.hidden_dim == 4  # type: ignore[union-attr]
    changed = published.model_dump()
    changed["recipe"] |= {"epochs": 4, "schedule": {"kind": "step", "epochs": [3], "factor": 0.1}}
    changed["model"]["pooling"]["hidden_dim"] = 4
    assert method.model_dump() == changed


def test_a_profile_lies_over_a_variant_and_both_over_the_recipe(tmp_path: Path) -> None:
    data = plain()
    data["profiles"]["short"] = {"recipe": {"epochs": 20}}  # as the variant has, and otherwise
    data["methods"]["vse"]["variants"]["slow"]["loss"] = {"margin": 0.1}
    data["runs"]["one"]["variant"] = "slow"
    data["runs"]["two"] |= {"variant": "slow", "profile": None}
    data["runs"]["three"] = {"data": "tiny", "method": "vse", "seed": 1, "profile": "short"}
    data["runs"]["four"] = {"data": "tiny", "method": "vse", "seed": 1}
    params = load(write(tmp_path, data))
    trained = {
        name: (method.recipe.epochs, method.recipe.learning_rate, method.loss.margin)  # type: ignore[attr-defined]
        for name, method in ((name, params.method_of(name)) for name in params.runs)
    }
    assert trained == {
        "one": (20, 1e-4, 0.1),
        "two": (30, 1e-4, 0.1),
        "three": (20, 5e-4, 0.2),
        "four": (25, 5e-4, 0.2),
    }
    assert {name: run.changes for name, run in params.runs.items()} == {
        "one": "slow+short", "two": "slow", "three": "short", "four": "published",
    }  # fmt: skip
    # Each of them a method of its own: none has changed the recipe.
    changed = leaves_of(params.method_of("one"))
    assert {keys for keys, value in leaves_of(params.recipes["vse"].settings).items() if changed[keys] != value} == {
        ("recipe", "epochs"), ("recipe", "learning_rate"), ("loss", "margin"),
    }  # fmt: skip


def test_an_experiment_in_a_folder_of_its_own_takes_what_its_root_holds(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "nltk.yaml").write_text(json.dumps({"sources": [], "sha256": "0" * 64, "files": {}, "timeout": 1}))
    path = tmp_path / "experiments" / "mine" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(SMALL.replace("root: .", "root: ../.."))
    params = load(path)
    assert (params.root_folder, params.project, params.experiment) == (tmp_path, tmp_path, "mine")
    assert params.method_of("one") == load(tmp_path / "params.yaml").method_of("one")
    assert params.nltk.timeout == 1
    assert load(tmp_path / "params.yaml").experiment == ""


def test_an_experiment_is_called_as_its_folder_and_the_embedded_one_not_at_all() -> None:
    assert [load(path).experiment for path in EXPERIMENTS] == [
        "",
        "coco",
        "coder-ablations",
        "f30k",
        "f30k-photos",
        "f30k-simulated",
    ]


def test_what_is_wrong_in_nltk_yaml_is_named_when_it_is_read_and_not_before(tmp_path: Path) -> None:
    params, path = load(write(tmp_path)), tmp_path / "nltk.yaml"
    with pytest.raises(ConfigError, match=r"nltk\.yaml: not found; it says where nltk's sentence data comes from"):
        _ = params.nltk
    good = {"sources": [], "sha256": "0" * 64, "files": {}, "timeout": 1}
    for key in good:
        path.write_text(json.dumps({f"{name}x" if name == key else name: value for name, value in good.items()}))
        with pytest.raises(ConfigError) as caught:
            _ = params.nltk
        assert str(caught.value).startswith(f"{path}: unknown key '{key}x'; did you mean '{key}'?")
    path.write_text(json.dumps(good | {"sha256": "0" * 63}))
    with pytest.raises(ConfigError, match=rf"^{path}: sha256: .*pattern"):
        _ = params.nltk
    assert load(tmp_path / "params.yaml").runs


def test_an_unknown_run_is_named_with_the_nearest(tmp_path: Path) -> None:
    params = load(write(tmp_path))
    with pytest.raises(ConfigError, match="no 'oen' in runs; did you mean 'one'"):
        params.run("oen")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("vsee",), r"^params\.yaml: method: no 'vsee' in recipes; did you mean 'vse'\? \(known: vse\)$"),
        (("vse", "slo"), rf"{VSE}: no variant 'slo'; did you mean 'slow'\? \(known: wide, slow\)$"),
        (("vse", "slow", "shor"), r"^params\.yaml: profile: no 'shor' in profiles; did you mean 'short'\?"),
    ],
    ids=["recipe", "variant", "profile"],
)
def test_what_is_asked_for_and_not_there_is_named_with_the_nearest(
    asked: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    params = load(write(tmp_path))
    with pytest.raises(ConfigError, match=message):
        params.method_with(*asked)
    with pytest.raises(KeyError):
        params.recipes["vsee"]
