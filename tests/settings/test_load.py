"""An experiment is read and checked: whatever stands in it, the answer is valid settings or an error of ours, and fast."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from itrcore.errors import ConfigError
from itrcore.settings.load import load
from tests.support.small_experiment import EXPERIMENTS, ROOT, plain, write, yaml_of


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_a_shipped_experiment_is_valid_and_has_no_methods_of_its_own(path: Path) -> None:
    params = load(path)
    assert params.runs and all(params.method_of(run) for run in params.runs)
    assert params.root_folder == params.project == ROOT and params.recipes.folder.resolve() == ROOT / "recipes"
    assert not {"methods", "nltk"} & yaml_of(path).keys()
    assert params.nltk == load(ROOT / "params.yaml").nltk


def test_the_shipped_experiments_agree_on_how_models_are_trained_and_evaluated() -> None:
    first, *others = map(load, EXPERIMENTS)
    assert len(others) == 5
    for other in others:
        assert (other.training, other.evaluation) == (first.training, first.evaluation)


def test_settings_are_read_without_torch() -> None:
    program = """
import sys
from pathlib import Path
from itrcore.settings.load import load
for path in sys.argv[1:]:
    params = load(Path(path))
    assert [recipe.settings.model for recipe in params.recipes.values()]
print(*{"torch", "transformers"} & sys.modules.keys())
"""
    command = [sys.executable, "-c", program, *map(str, EXPERIMENTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize("root", ["..", "recipes", "nowhere"])
def test_a_root_without_recipes_is_named_once_whatever_else_is_wrong(root: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = write(tmp_path / "here", plain() | {"root": root})
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: root: {root}: no recipes in {path.parent / root / 'recipes'}; give the folder that holds itrcore and recipes"
    )


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
    with pytest.raises(ConfigError) as caught:
        load(path)
    [line] = str(caught.value).splitlines()
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
