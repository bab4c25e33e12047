"""Settings are strict: a wrong key, value or name is said with its place and what was expected; several problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from itrcore import registry
from itrcore.settings.downloads import PunktSettings
from itrcore.settings.methods import MethodSettings, ModelSettings
from itrcore.settings.params import Params
from itrcore.settings.strict import Settings
from tests.support.small_experiment import VSE, at, named, plain

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
    assert [line.split(": ")[0] for line in lines] == [
        "training.device", "evaluation", "evaluation", "evaluation.queries", "runs.one.seed",
    ], lines  # fmt: skip


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


WRONG: list[tuple[tuple[str, ...], Any, str]] = [
    (("methods", "vse", "recipe", "epochs"), "4", "valid integer, not '4'"),
    (("methods", "vse", "recipe", "epochs"), 4.0, "valid integer, not 4.0"),
    (("methods", "vse", "recipe", "epochs"), True, "valid integer, not True"),
    (("methods", "vse", "recipe", "epochs"), -1, "greater than or equal to 0, not -1"),
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
        "unknown kind 'vsee'; did you mean 'vse'? (known: coder, dual, esa, esl, esl_clip, lhsc, scan, sgraf, vse)",
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


@pytest.mark.parametrize(("keys", "value", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_named_with_its_place_and_what_was_expected(
    keys: tuple[str, ...], value: Any, message: str, complaints: Any
) -> None:
    data = plain()
    at(data, *keys[:-1])[keys[-1]] = value
    line = complaints(data)[0]
    assert line.startswith(f"{named(*(keys[:-1] if keys[-1] == 'kind' else keys))}: "), line
    assert message in line, line


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "a b", ".x", "-x", "é", "a.b", "a\n", "x" * 101, "${x}", "a@b", "size", "nfiles"],
)
@pytest.mark.parametrize("section", ["datasets", "profiles", "runs", "ensembles"])
def test_a_name_that_is_no_safe_folder_or_means_something_to_dvc_is_refused(
    section: str, name: str, complaints: Any
) -> None:
    data = plain()
    data[section][name] = next(iter(data[section].values()))
    assert any(f"{name!r} cannot be a name" in line for line in complaints(data))


@pytest.mark.parametrize("name", ["", "../x", "a b", "${x}", "size", "nfiles"])
@pytest.mark.parametrize("key", ["data", "method", "variant", "profile"])
def test_a_run_names_nothing_that_could_not_be_a_name(key: str, name: str, complaints: Any) -> None:
    data = plain()
    data["runs"]["one"][key] = name
    [line] = complaints(data)
    assert line.startswith(f"runs.one.{key}: {name!r} cannot be a name")


@pytest.mark.parametrize("name", ["a/b", "size", "nfiles"])
def test_the_same_holds_for_downloads_and_their_parts(name: str, complaints: Any) -> None:
    part = {"sources": ["https://mirror/data.zip"]}
    for downloads in ({name: {"features": part}}, {"f30k": {name: part}}):
        assert any(f"{name!r} cannot be a name" in line for line in complaints(plain() | {"downloads": downloads}))


def test_names_that_only_hold_dvcs_are_names(complaints: Any) -> None:
    data = plain()
    for name in ("Size", "size1", "file-size"):
        data["methods"][name] = data["methods"]["vse"]
        data["runs"][name] = {"data": "tiny", "method": name, "seed": 1}
    assert complaints(data) == []


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
    if hint is ModelSettings:  # stands for those of all methods
        for settings, _ in registry.METHODS.values():
            yield from models(registry.load(settings), seen)


def test_no_setting_has_a_name_that_dvc_leaves_out_when_it_looks_for_cached_results() -> None:
    # For what `dvc repro` has run before, with whatever parameters, it takes the results from its run cache. It compares
    # parameters there without the keys `size` and `nfiles`, at any depth: they are those of its records of files.
    # A setting of that name could be changed, and results of its old value would be taken for those of its new one.
    all_models = [model for hint in (Params, MethodSettings, PunktSettings) for model in models(hint, set())]
    known = {"WordPieceSettings", "BertShape", "LHSCSettings", "HingeSettings", "DownloadSettings"}
    assert known <= {model.__name__ for model in all_models}
    left_out = {"size", "nfiles"}
    assert not [model.__name__ for model in all_models if left_out & model.model_fields.keys()]
