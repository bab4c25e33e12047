"""The methods' recipes: those that are shipped, what variants and profiles change of them, and what is wrong with one."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from itrcore.errors import ConfigError
from itrcore.settings.experiments import check_steps, create
from itrcore.settings.load import load
from itrcore.settings.recipes import MethodRecipe, Recipes
from tests.support.config_data import RECIPE, VSE, plain, write

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").iterdir())
EXPERIMENTS = [ROOT / "params.yaml", *sorted((ROOT / "experiments").glob("*/params.yaml"))]
VARIANTS = [(path.stem, variant) for path in FILES for variant in MethodRecipe(path).variants]


def yaml_of(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def leaves(value: Any, *above: str) -> dict[tuple[str, ...], Any]:
    """Each setting by its keys."""
    if not isinstance(value, Mapping):
        return {above: value}
    return {keys: leaf for key, inner in value.items() for keys, leaf in leaves(inner, *above, key).items()}


def settings(recipe: Any) -> dict[tuple[str, ...], Any]:
    return leaves(recipe.model_dump(mode="json"))


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


# What is shipped


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_recipe_is_valid_with_its_variants_and_says_where_its_numbers_are_from(path: Path) -> None:
    recipe = MethodRecipe(path)  # which checks each variant
    assert path.suffix == ".yaml"
    assert "github.com/" in recipe.source and any(year in recipe.source for year in ("2018", "2021", "2022", "2023"))
    assert list(recipe.variants) == list(yaml_of(path).get("variants", {}))
    assert path.stem == recipe.settings.family  # so that it is found by what the field calls it


def test_there_are_recipes_and_variants_to_look_at() -> None:
    assert {"esa_bigru", "esl_h_clip", "lhsc_bigru", "sgr_bigru", "vse_pp_bert"} <= {path.stem for path in FILES}
    assert ("scan_i2t_lse_bigru", "coco") in VARIANTS and ("lhsc_bigru", "released") in VARIANTS


@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_a_shipped_variant_changes_what_it_says_and_nothing_else(method: str, variant: str) -> None:
    path = ROOT / "recipes" / f"{method}.yaml"
    recipe, said = MethodRecipe(path), leaves(yaml_of(path)["variants"][variant])
    before, after = settings(recipe.settings), settings(recipe.variants[variant])
    assert {keys: value for keys, value in after.items() if before.get(keys) != value} == said
    assert after.keys() == before.keys()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_a_shipped_experiment_is_valid_and_has_no_methods_of_its_own(path: Path) -> None:
    params = load(path)
    assert params.runs and all(params.method_of(run) for run in params.runs)
    assert params.root_folder == params.project == ROOT and params.recipes.folder.resolve() == ROOT / "recipes"
    assert not {"methods", "nltk"} & yaml_of(path).keys()
    assert params.nltk == load(ROOT / "params.yaml").nltk


def test_the_shipped_experiments_agree_on_how_models_are_trained_and_evaluated() -> None:
    first, *others = map(load, EXPERIMENTS)
    assert len(others) == 3
    for other in others:
        assert (other.training, other.evaluation) == (first.training, first.evaluation)


def test_the_shipped_experiments_have_the_same_steps(tmp_path: Path) -> None:
    assert [path.parent.name for path in EXPERIMENTS[1:]] == ["coco", "f30k", "f30k-simulated"]
    for path in EXPERIMENTS[1:]:
        # A copy: of a link, DVC cannot read what is committed.
        assert not path.with_name("dvc.yaml").is_symlink()
        check_steps(load(path), path.parent)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(ConfigError, match=r"dvc.yaml: not the same steps as the project's; copy .*dvc.yaml over it"):
        check_steps(load(EXPERIMENTS[1]), tmp_path)


def test_a_new_experiment_is_like_another_one_and_has_its_own_folder(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for name in ("params.yaml", "nltk.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    folder = create(tmp_path, "mine", tmp_path)
    made = load(folder / "params.yaml")
    assert (made.experiment, made.project, folder) == ("mine", tmp_path, tmp_path / "experiments" / "mine")
    assert made.runs == load(tmp_path / "params.yaml").runs
    check_steps(made, folder)
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "dvc.yaml", ".dvc", ".dvcignore"}
    for name, told in (("mine", "there already"), ("../x", "cannot be an experiment's name")):
        with pytest.raises(ConfigError, match=told):
            create(tmp_path, name, tmp_path)


def test_an_experiment_is_called_as_its_folder_and_the_embedded_one_not_at_all() -> None:
    assert [load(path).experiment for path in EXPERIMENTS] == ["", "coco", "f30k", "f30k-simulated"]


SCAN_COCO = {"recipe.learning_rate": 5e-4, "recipe.epochs": 20, "recipe.schedule.epochs": [10]}
TWENTY = {"recipe.epochs": 20, "recipe.schedule.epochs": [10]}
# Method → what its paper or code says for MS-COCO and otherwise than for Flickr30K.
COCO: dict[str, dict[str, Any]] = {
    "scan_t2i_lse_bigru": SCAN_COCO,
    "scan_t2i_avg_bigru": SCAN_COCO,
    "scan_i2t_lse_bigru": SCAN_COCO | {"model.pooling.scale": 20.0},
    "scan_i2t_avg_bigru": SCAN_COCO,
    "sgr_bigru": TWENTY,
    "saf_bigru": TWENTY,
    "esl_h_bert": TWENTY,
    "esl_a_bert": TWENTY,
    "esl_h_clip": {"model.text.strip": ""},
    "esl_a_clip": {"model.text.strip": ""},
}


@pytest.mark.parametrize("method", COCO)
def test_cocos_published_numbers_come_out_of_its_variant(method: str) -> None:
    params = load(ROOT / "experiments" / "coco" / "params.yaml")
    found = {".".join(keys): value for keys, value in settings(params.method_with(method, "coco")).items()}
    assert {key: found[key] for key in COCO[method]} == COCO[method]


def test_flickr30ks_published_numbers_are_the_recipes_own() -> None:
    params = load(ROOT / "experiments" / "f30k" / "params.yaml")
    scan, sgr, saf, esl, clip = (
        params.method_with(name)
        for name in ("scan_i2t_lse_bigru", "sgr_bigru", "saf_bigru", "esl_h_bert", "esl_h_clip")
    )
    assert (scan.recipe.learning_rate, scan.recipe.epochs, scan.model.pooling.scale) == (2e-4, 30, 5.0)  # type: ignore
    assert [(method.recipe.epochs, method.recipe.schedule.epochs) for method in (scan, sgr, saf, esl)] == [  # type: ignore
        (30, [15]), (40, [30]), (30, [20]), (30, [15]),
    ]  # fmt: skip
    assert clip.model.text.strip == "."  # type: ignore[union-attr]
    assert {run.changes for run in params.runs.values()} == {"published"}


def test_the_runs_on_coco_take_its_variant_where_there_is_one() -> None:
    params = load(ROOT / "experiments" / "coco" / "params.yaml")
    assert {name: run.variant for name, run in params.runs.items()} == {
        name: "coco" if (run.method, "coco") in VARIANTS else None for name, run in params.runs.items()
    }
    assert {run.changes for run in params.runs.values()} == {"published", "coco"}
    assert set(COCO) == {method for method, variant in VARIANTS if variant == "coco"}


# Recipe, variant, profile


def test_a_profile_lies_over_a_variant_and_both_over_the_recipe(tmp_path: Path) -> None:
    data = plain()
    data["profiles"]["short"] = {"recipe": {"epochs": 20}}  # as the variant has, and otherwise
    data["methods"]["vse"]["variants"]["slow"]["loss"] = {"margin": 0.1}
    data["runs"]["one"]["variant"] = "slow"
    data["runs"]["two"] |= {"variant": "slow", "profile": None}
    data["runs"]["three"] = {"data": "tiny", "method": "vse", "seed": 1, "profile": "short"}
    data["runs"]["four"] = {"data": "tiny", "method": "vse", "seed": 1}
    params = load(write(tmp_path, data))
    found = {
        name: (method.recipe.epochs, method.recipe.learning_rate, method.loss.margin)  # type: ignore[attr-defined]
        for name, method in ((name, params.method_of(name)) for name in params.runs)
    }
    assert found == {"one": (20, 1e-4, 0.1), "two": (30, 1e-4, 0.1), "three": (20, 5e-4, 0.2), "four": (25, 5e-4, 0.2)}
    assert {name: run.changes for name, run in params.runs.items()} == {
        "one": "slow+short", "two": "slow", "three": "short", "four": "published",
    }  # fmt: skip
    # Each of them a method of its own: none has changed the recipe.
    changed = settings(params.method_of("one"))
    assert {keys for keys, value in settings(params.recipes["vse"].settings).items() if changed[keys] != value} == {
        ("recipe", "epochs"), ("recipe", "learning_rate"), ("loss", "margin"),
    }  # fmt: skip


def test_a_list_is_replaced_whole_and_a_mapping_key_by_key(tmp_path: Path) -> None:
    data = plain()
    data["methods"]["vse"]["recipe"]["schedule"]["epochs"] = [10, 20]
    data["methods"]["vse"]["variants"]["slow"]["recipe"] = {"schedule": {"epochs": [5]}}
    schedule: Any = load(write(tmp_path, data)).method_with("vse", "slow").recipe.schedule
    assert (schedule.epochs, schedule.factor) == ([5], 0.1)


# What is wrong


def test_an_unknown_variant_is_named_with_its_run_and_the_nearest(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"]["variant"] = "slo"
    assert complaints(data) == [
        "runs.one.variant: no 'slo' in the variants of vse; did you mean 'slow'? (known: wide, slow)"
    ]
    del data["methods"]["vse"]["variants"]
    assert complaints(data) == ["runs.one.variant: no 'slo' in the variants of vse (known: none)"]


def test_an_unknown_profile_and_an_unknown_recipe_are_named_with_the_nearest(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"]["profile"] = "shortt"
    data["runs"]["two"]["method"] = "vsee"
    assert complaints(data) == [
        "runs.one.profile: no 'shortt' in profiles; did you mean 'short'? (known: short)",
        "runs.two.method: no 'vsee' in recipes; did you mean 'vse'? (known: vse)",
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("vsee",), r"^params\.yaml: method: no 'vsee' in recipes; did you mean 'vse'\? \(known: vse\)$"),
        (("vse", "slo"), rf"{VSE}: no variant 'slo'; did you mean 'slow'\? \(known: wide, slow\)$"),
        (("vse", "slow", "shor"), r"^params\.yaml: profile: no 'shor' in profiles; did you mean 'short'\?"),
    ],
    ids=["recipe", "variant", "profile"],
)
def test_what_is_asked_for_and_not_there_is_named_with_the_nearest(
    asked: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    params = load(write(tmp_path))
    with pytest.raises(ConfigError, match=said):
        params.method_with(*asked)
    with pytest.raises(KeyError):
        params.recipes["vsee"]


def broken(key: str) -> Any:
    data = plain()
    data["methods"]["vse"]["recipe"][key] = data["methods"]["vse"]["recipe"].pop("epochs")
    data["runs"]["three"] = {"data": "other", "method": "vse", "seed": 3, "variant": "slow"}
    return data


def test_what_is_wrong_in_a_recipe_is_said_once_with_its_file_and_key_though_several_runs_use_it(
    complaints: Any,
) -> None:
    [line] = complaints(broken("epoch"))
    assert line.startswith(f"{VSE}: recipe: unknown key 'epoch'; did you mean 'epochs'?")


def test_what_is_wrong_in_a_profile_is_said_once_for_each_method_that_it_lies_over(complaints: Any) -> None:
    data = plain()
    data["methods"]["b"] = data["methods"]["vse"]
    data["runs"] |= {
        "three": {"data": "tiny", "method": "b", "seed": 1, "profile": "short"},
        "four": {"data": "tiny", "method": "vse", "variant": "slow", "seed": 1, "profile": "short"},
    }
    data["profiles"]["short"]["recipe"]["epoch"] = 3
    assert [line.split(": recipe: unknown key 'epoch'; did you mean 'epochs'?")[0] for line in complaints(data)] == [
        "profiles.short over vse", "profiles.short over b", "profiles.short over vse, variant slow",
    ]  # fmt: skip


def test_what_is_wrong_in_a_variant_is_named_with_it_though_no_run_takes_it(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["variants"]["wide"] = {"model": {"dims": 16}}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: variants.wide: model: unknown key 'dims'; did you mean 'dim'?")
    data["methods"]["vse"]["variants"]["wide"] = {"recipe": {"epochs": 5}}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: variants.wide: recipe: schedule.epochs [15] reach past the last of 5 epochs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": expected a mapping of sections (model, loss, recipe, source, variants)"),
        ("- 1", ": expected a mapping of sections"),
        ("model: {kind: [}", ", line 1: not valid YAML"),
        (RECIPE + "source: again\n", ': found duplicate key "source"'),
        (RECIPE.replace("a paper", "2018-09-08"), ": source: 2018-09-08 is not text but date; put it in quotes"),
    ],
    ids=["empty", "list", "no YAML", "a key twice", "a date"],
)
def test_a_file_that_is_no_recipe_is_a_clear_error(text: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / VSE).write_text(text)
    [line] = error_of(path).splitlines()
    assert line.startswith(f"{tmp_path / VSE}") and said in line, line


def test_recipes_that_no_run_uses_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "recipes" / "other.yaml").write_text("model: [")
    params = load(path)
    assert list(params.recipes) == ["other", "vse"] and "other" in params.recipes and len(params.recipes) == 2
    with pytest.raises(ConfigError, match=r"recipes/other\.yaml, line 1: not valid YAML"):
        params.recipes["other"]
    path.write_text(path.read_text().replace("two: {data: tiny, method: vse", "two: {data: tiny, method: other"))
    assert error_of(path).startswith(f"{tmp_path}/recipes/other.yaml, line 1: not valid YAML")


def test_a_recipe_is_read_once(tmp_path: Path) -> None:
    write(tmp_path)
    recipes = Recipes(tmp_path / "recipes")
    assert recipes["vse"] is recipes["vse"]


def old_form() -> dict[str, Any]:
    """As params.yaml was when it held the recipes and nltk's sources."""
    data = copy.deepcopy(plain())
    data["nltk"] = {"sources": [], "sha256": "0" * 64, "files": {}, "timeout": 1}
    data["profiles"]["published"] = {}
    del data["root"], data["methods"]["vse"]["source"], data["methods"]["vse"]["variants"]
    return data


def test_a_params_yaml_of_the_old_form_gives_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with open(path, "w", encoding="utf-8") as handle:
        YAML(typ="safe", pure=True).dump(old_form(), handle)
    [line] = error_of(path).splitlines()
    assert line.startswith(f"{path}: methods: this file is of an older form: ")
    assert "Remove the block methods" in line and "recipes/<name>.yaml" in line and "docs/experiments.md" in line


def test_what_is_left_of_the_old_form_is_named(complaints: Any) -> None:
    data = plain() | {"nltk": {}}
    data["runs"]["one"]["profile"] = "published"
    assert complaints(data)[0].startswith(
        "nltk: this file is of an older form: where nltk's data comes from stands in nltk.yaml"
    )
    del data["nltk"]
    [line] = complaints(data)
    assert line.startswith("runs.one.profile: no 'published' in profiles")
