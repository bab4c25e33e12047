"""An experiment: what is wrong with it is said at once, by file and key, with the nearest valid one; never a traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from itrcore.errors import ConfigError
from itrcore.settings.downloads import PunktSettings
from itrcore.settings.load import load
from itrcore.settings.methods import MethodSettings, ModelSettings
from itrcore.settings.params import Params
from itrcore.settings.recipe import StepSchedule
from itrcore.settings.strict import Settings
from tests.support.config_data import RECIPE, SMALL, VSE, at, named, plain, write


def test_the_small_configuration_is_valid_and_a_profile_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    params = load(write(tmp_path))
    method, published = params.method_of("one"), params.recipes["vse"].settings
    assert (method.recipe.epochs, method.recipe.schedule) == (4, StepSchedule(kind="step", epochs=[3], factor=0.1))
    assert method.model.pooling.hidden_dim == 4  # type: ignore[union-attr]
    changed = published.model_dump()
    changed["recipe"] |= {"epochs": 4, "schedule": {"kind": "step", "epochs": [3], "factor": 0.1}}
    changed["model"]["pooling"]["hidden_dim"] = 4
    assert method.model_dump() == changed


def models(hint: Any, seen: set[type[Settings]]) -> Iterator[type[Settings]]:
    """Every settings model that a type hint leads to."""
    for inner in get_args(hint):
        yield from models(inner, seen)
    if not isinstance(hint, type) or not issubclass(hint, Settings) or hint in seen:
        return
    seen.add(hint)
    yield hint
    for field in hint.model_fields.values():
        yield from models(field.annotation, seen)
    if issubclass(hint, ModelSettings):  # `loss` of a method: it depends on its model
        yield from models(hint.loss_settings, seen)


def test_no_setting_has_a_name_that_dvc_leaves_out_when_it_looks_for_cached_results() -> None:
    # For what `dvc repro` has run before, with whatever parameters, it takes the results from its run cache. It compares
    # parameters there without the keys `size` and `nfiles`, at any depth: they are those of its records of files.
    # A setting of that name could be changed, and results of its old value would be taken for those of its new one.
    found = [model for hint in (Params, MethodSettings, PunktSettings) for model in models(hint, set())]
    assert {"WordPieceSettings", "BertShape", "HingeSettings", "DownloadSettings"} <= {
        model.__name__ for model in found
    }
    named = [f"{model.__name__}.{name}" for model in found for name in model.model_fields if name in ("size", "nfiles")]
    assert named == []


SECTIONS = [
    (),
    ("datasets", "tiny"),
    ("datasets", "tiny", "source"),
    ("datasets", "tiny", "source", "splits"),
    ("datasets", "tiny", "vocabulary"),
    ("datasets", "tiny", "shards"),
    ("methods", "vse"),
    ("methods", "vse", "model"),
    ("methods", "vse", "model", "text"),
    ("methods", "vse", "model", "pooling"),
    ("methods", "vse", "loss"),
    ("methods", "vse", "recipe"),
    ("training",),
    ("training", "selection"),
    ("evaluation",),
    ("runs", "one"),
    ("ensembles", "both"),
    ("report",),
]


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one_at_every_depth(section: Any, complaints: Any) -> None:
    for key in at(plain(), *section):
        if key in ("kind", "methods"):  # of a method, too: a misspelt name is another method's
            continue
        data = plain()
        mapping = at(data, *section)
        mapping[key + "x"] = mapping.pop(key)
        (line,) = complaints(data)
        where = f"{named(*section)}: " if section else ""
        assert line.startswith(f"{where}unknown key '{key}x'; did you mean '{key}'?"), line


def test_a_misspelt_key_in_a_profile_is_named_with_profile_and_method(complaints: Any) -> None:
    data = plain()
    data["profiles"]["short"]["recipe"]["epoch"] = 3
    (line,) = complaints(data)
    assert line.startswith("profiles.short over vse: recipe: unknown key 'epoch'; did you mean 'epochs'?")


def test_a_missing_key_is_named(complaints: Any) -> None:
    data = plain()
    del data["methods"]["vse"]["recipe"]["epochs"], data["methods"]["vse"]["model"]["kind"]
    assert complaints(data) == [
        f"{VSE}: model: the key 'kind' is missing",
        f"{VSE}: recipe.epochs: this key is missing",
    ]
    data = plain()
    del data["methods"]["vse"]["source"]
    assert complaints(data) == [f"{VSE}: source: this key is missing"]
    data = plain()
    del data["root"], data["report"]["title"]
    assert complaints(data) == ["root: this key is missing", "report.title: this key is missing"]


def test_all_problems_of_a_file_are_reported_together(complaints: Any) -> None:
    data = plain()
    data["training"]["device"] = "gpu"
    data["evaluation"] |= {"tiles": 3, "batchsize": 3, "queries": -1}
    data["runs"]["one"]["seed"] = "1"
    lines = complaints(data)
    found = [line.split(": ")[0] for line in lines]
    assert found == ["training.device", "evaluation", "evaluation", "evaluation.queries", "runs.one.seed"], lines


def test_all_problems_of_a_recipe_are_reported_together_and_beside_those_of_other_runs(complaints: Any) -> None:
    data = plain()
    data["methods"]["vse"]["recipe"] |= {"epoch": 3, "batchsize": 3, "clip_norm": -1}
    data["methods"]["vse"]["sources"] = data["methods"]["vse"].pop("source")
    data["runs"]["three"] = {"data": "tin", "method": "vse", "seed": 3}
    lines = complaints(data)
    starts = [
        f"{VSE}: unknown key 'sources'; did you mean 'source'?",
        f"{VSE}: recipe: unknown key 'epoch'; did you mean 'epochs'?",
        f"{VSE}: recipe: unknown key 'batchsize'; did you mean 'batch_size'?",
        f"{VSE}: recipe.clip_norm: Input should be greater than 0",
        "runs.three.data: no 'tin' in datasets; did you mean 'tiny'?",
    ]
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start), line


def test_all_names_that_do_not_exist_are_reported_together(complaints: Any) -> None:
    data = plain()
    data["runs"]["one"] |= {"data": "tin", "method": "vs", "profile": "shor"}
    data["ensembles"]["both"]["runs"] = ["one", "tow"]
    assert complaints(data) == [
        "runs.one.data: no 'tin' in datasets; did you mean 'tiny'? (known: tiny, other)",
        "runs.one.method: no 'vs' in recipes; did you mean 'vse'? (known: vse)",
        "runs.one.profile: no 'shor' in profiles; did you mean 'short'? (known: short)",
        "ensembles.both.runs: one is a run on tin, not on tiny; an ensemble needs one and the same data set",
        "ensembles.both.runs: no 'tow' in runs; did you mean 'two'? (known: one, two)",
    ]


WRONG: list[tuple[tuple[str, ...], Any, str]] = [
    (("methods", "vse", "recipe", "epochs"), "4", "valid integer, not '4'"),
    (("methods", "vse", "recipe", "epochs"), 4.0, "valid integer, not 4.0"),
    (("methods", "vse", "recipe", "epochs"), True, "valid integer, not True"),
    (("methods", "vse", "recipe", "epochs"), 0, "greater than or equal to 1, not 0"),
    (("methods", "vse", "recipe", "learning_rate"), "5e-4", "valid number, not '5e-4'"),
    (("methods", "vse", "recipe", "learning_rate"), float("nan"), "finite number, not nan"),
    (("methods", "vse", "recipe", "learning_rate"), float("inf"), "finite number, not inf"),
    (("methods", "vse", "recipe", "learning_rate"), 0, "greater than 0, not 0"),
    (("methods", "vse", "recipe", "batch_size"), 1, "greater than or equal to 2, not 1"),
    (("methods", "vse", "recipe", "schedule", "epochs"), 15, "valid array, not 15"),
    (("methods", "vse", "recipe", "schedule", "epochs"), None, "it is empty (write {} or [] for nothing)"),
    (
        ("methods", "vse", "model", "kind"),
        "vsee",
        "unknown kind 'vsee'; did you mean 'vse'? (known: vse, esa, esl, esl_clip, scan, sgraf, lhsc)",
    ),
    (("methods", "vse", "model", "dim"), 7, "multiple of 2, not 7"),
    (("methods", "vse", "model", "region_drop"), 1.0, "less than 1, not 1.0"),
    (("training", "device"), "gpu", "'auto', 'cpu', 'cuda' or 'mps', not 'gpu'"),
    (("runs", "one", "seed"), -1, "greater than or equal to 0, not -1"),
    (("runs", "one"), None, "it is empty"),
    (("profiles", "short"), None, "it is empty"),
    (("runs",), [], "object"),
    (("ensembles", "both", "runs"), ["one"], "at least 2"),
    (("methods", "vse", "source"), None, "valid string"),
    (("methods", "vse", "variants"), None, "it is empty"),
    (("methods", "vse", "variants", "wide"), None, "it is empty"),
    (("runs", "one", "variant"), 3, "valid string, not 3"),
    (("root",), 3, "valid string, not 3"),
]


@pytest.mark.parametrize(("keys", "value", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_named_with_its_place_and_what_was_expected(
    keys: tuple[str, ...], value: Any, said: str, complaints: Any
) -> None:
    data = plain()
    at(data, *keys[:-1])[keys[-1]] = value
    line = complaints(data)[0]
    assert line.startswith(f"{named(*(keys[:-1] if keys[-1] == 'kind' else keys))}: "), line
    assert said in line, line


def test_a_key_given_twice_is_refused_with_its_line(complaints: Any) -> None:
    text = SMALL.replace("report: {title: test}", "report:\n  title: a\n  title: b\n")
    (line,) = complaints(text)
    number = text.splitlines().index("  title: b") + 1
    assert (
        line
        == f', line {number}: found duplicate key "title" with value "b" (original value: "a"); remove one of the two'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("report: {title: [}", "line 1: not valid YAML"),
        ("", "expected a mapping of sections (root, downloads, datasets"),
        ("- 1", "expected a mapping of sections"),
        ("runs: {2026-01-01: 1}", "the key 2026-01-01 is not text but date; put it in quotes"),
        ("runs: {1: 1}", "runs.1: the key 1 is not text but int; put it in quotes"),
        ("? [a, b]\n: 1", "is not text but"),
        ("report: {title: 2026-01-01}", "report.title: 2026-01-01 is not text but date; put it in quotes"),
        ("report: &a {title: *a}", "report.title: this anchor holds itself"),
        ("report: !!python/object:os.system {}", "not valid YAML"),
        ("report: !!set {a, b}", "report"),
        ("report: {title: \0}", "not valid YAML"),
        (b"report: \xff", "cannot be read as UTF-8 text"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_what_is_no_such_file_at_all_is_a_clear_error(text: str | bytes, said: str, complaints: Any) -> None:
    assert any(said in line for line in complaints(text))


def test_a_file_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: not found; run from a folder that holds params\.yaml"):
        load(tmp_path / "params.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_yaml_1_2_numbers_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL.replace("{epochs: 4", "{learning_rate: 5e-4, epochs: 4"))
    assert load(path).method_of("one").recipe.learning_rate == 5e-4
    (tmp_path / VSE).write_text(RECIPE.replace("5.0e-4", "6e-4"))
    assert load(path).recipes["vse"].settings.recipe.learning_rate == 6e-4


@pytest.mark.parametrize("root", ["..", "recipes", "nowhere"])
def test_a_root_without_recipes_is_named_once_whatever_else_is_wrong(root: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = write(tmp_path / "here", plain() | {"root": root})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: root: {root}: no recipes in {path.parent / root / 'recipes'}; give the folder that holds itrcore and recipes"
    )


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


def test_what_is_wrong_in_nltk_yaml_is_named_when_it_is_read_and_troubles_nobody_else(tmp_path: Path) -> None:
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


def test_whatever_value_stands_anywhere_the_answer_is_an_error_of_ours_or_a_valid_configuration(
    complaints: Any,
) -> None:
    """Fuzz: any other exception would be a traceback on a user's screen."""
    rng = random.Random(1)
    odd: list[Any] = [None, [], {}, "", "x", -1, 0, 1.5, 10**30, True, [[]], [None], {"x": 1}, float("nan")]
    for _ in range(150):
        data = plain()
        for _ in range(rng.randint(1, 3)):
            inside: Any = data
            while True:
                key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
                if not isinstance(inside[key], dict | list) or not inside[key] or rng.random() < 0.2:
                    break
                inside = inside[key]
            inside[key] = copy.deepcopy(rng.choice(odd))
        complaints(data)


def test_an_unknown_run_is_named_with_the_nearest(tmp_path: Path) -> None:
    params = load(write(tmp_path))
    with pytest.raises(ConfigError, match="no 'oen' in runs; did you mean 'one'"):
        params.run("oen")
