"""The methods' recipes: those that are shipped, what their variants change, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.load import load
from itrcore.settings.recipes import Recipe, Recipes
from tests.support.small_experiment import RECIPE, ROOT, VSE, leaves, leaves_of, plain, write, yaml_of

FILES = sorted((ROOT / "recipes").iterdir())


VARIANTS = [(path.stem, variant) for path in FILES for variant in Recipe(path).variants]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_recipe_is_valid_with_its_variants_and_says_where_its_numbers_are_from(path: Path) -> None:
    recipe = Recipe(path)  # which checks each variant
    assert path.suffix == ".yaml"
    assert "github.com/" in recipe.source and any(year in recipe.source for year in ("2018", "2021", "2022", "2023"))
    assert list(recipe.variants) == list(yaml_of(path).get("variants", {}))
    family = recipe.settings.family
    if path.stem.startswith("dual"):  # known by its weights
        return
    assert family == path.stem + (
        "_reconstructed" if path.stem.startswith("coder") else ""
    )  # so that it is found by what the field calls it


def test_there_are_recipes_and_variants_to_look_at() -> None:
    assert {"esa_bigru", "esl_h_clip", "lhsc_bigru", "sgr_bigru", "vse_pp_bert"} <= {path.stem for path in FILES}
    assert ("scan_i2t_lse_bigru", "coco") in VARIANTS and ("lhsc_bigru", "released") in VARIANTS


@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_a_shipped_variant_changes_what_it_says_and_nothing_else(method: str, variant: str) -> None:
    path = ROOT / "recipes" / f"{method}.yaml"
    recipe, changed = Recipe(path), leaves(yaml_of(path)["variants"][variant])
    before, after = leaves_of(recipe.settings), leaves_of(recipe.variants[variant])
    assert {keys: value for keys, value in after.items() if before.get(keys) != value} == changed
    assert after.keys() == before.keys()


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
    "coder_bert": {"loss.queue": 4096, "loss.batch_weight": 1.0},
    "coder_bigru": {"loss.queue": 4096, "loss.batch_weight": 1.0},
    "esl_h_clip": {"model.text.strip": ""},
    "esl_a_clip": {"model.text.strip": ""},
}


@pytest.mark.parametrize("method", COCO)
def test_cocos_published_numbers_come_out_of_its_variant(method: str) -> None:
    params = load(ROOT / "experiments" / "coco" / "params.yaml")
    values = {".".join(keys): value for keys, value in leaves_of(params.method_with(method, "coco")).items()}
    assert {key: values[key] for key in COCO[method]} == COCO[method]


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


def test_what_is_wrong_in_a_variant_is_named_with_it_though_no_run_takes_it(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["variants"]["wide"] = {"model": {"dims": 16}}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: variants.wide: model: unknown key 'dims'; did you mean 'dim'?")
    data["methods"]["vse"]["variants"]["wide"] = {"recipe": {"epochs": 5}}
    [line] = complaints(data)
    assert line.startswith(f"{VSE}: variants.wide: recipe: schedule.epochs [15] reach past the last of 5 epochs")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": expected a mapping of sections (model, loss, recipe, source, variants)"),
        ("- 1", ": expected a mapping of sections"),
        ("model: {kind: [}", ", line 1: not valid YAML"),
        (RECIPE + "source: again\n", ': found duplicate key "source"'),
        (RECIPE.replace("a paper", "2018-09-08"), ": source: 2018-09-08 is not text but date; put it in quotes"),
    ],
    ids=["empty", "list", "no YAML", "a key twice", "a date"],
)
def test_a_file_that_is_no_recipe_is_a_clear_error(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / VSE).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path / VSE}") and message in line, line


def test_recipes_that_no_run_uses_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "recipes" / "other.yaml").write_text("model: [")
    params = load(path)
    assert list(params.recipes) == ["other", "vse"] and "other" in params.recipes and len(params.recipes) == 2
    with pytest.raises(ConfigError, match=r"recipes/other\.yaml, line 1: not valid YAML"):
        params.recipes["other"]
    path.write_text(path.read_text().replace("two: {data: tiny, method: vse", "two: {data: tiny, method: other"))
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/recipes/other\.yaml, line 1: not valid YAML"):
        load(path)


def test_a_recipe_is_read_once(tmp_path: Path) -> None:
    write(tmp_path)
    recipes = Recipes(tmp_path / "recipes")
    assert recipes["vse"] is recipes["vse"]
