"""Reading and checking params.yaml: every problem at once, each with its key and the nearest valid one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.errors import ConfigError
from itrcore.settings import checks, yaml_file
from itrcore.settings.params import Params
from itrcore.settings.recipes import Recipes

# What only older forms of the file have, and what to do.
_OLD = {
    "methods": "the methods' recipes are files now, one each in recipes/. Remove the block methods. Numbers of your own in it: "
    "a method of yours becomes recipes/<name>.yaml, a change of a published one a profile",
    "nltk": "where nltk's data comes from stands in nltk.yaml, beside recipes/. Remove it here",
}


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check an experiment. `ConfigError` names each wrong key, the nearest valid one and the file."""
    return _checked(yaml_file.read(path, Params.model_fields, "run from a folder that holds params.yaml"), path)


def load_text(text: str, path: Path) -> Params:
    """As `load`, of the text that the file at `path` would have."""
    return _checked(yaml_file.parse(text, path, Params.model_fields), path)


def _checked(data: dict[str, Any], path: Path) -> Params:
    for key, remedy in _OLD.items():
        if key in data:
            raise ConfigError(f"{path}: {key}: this file is of an older form: {remedy} (docs/experiments.md)")
    params = yaml_file.settings(Params, data, path)
    # Links are resolved, but not one at the file itself: errors name files as the user gave them.
    params._folder = path.parent.resolve()
    params._root = (params._folder / params.root).resolve()
    params._recipes = Recipes(path.parent / params.root / layout.RECIPES)
    if problems := list(checks.problems(params)):
        # What is wrong in a recipe names that file itself.
        raise ConfigError(
            "\n".join(line if line.startswith(str(params.recipes.folder)) else f"{path}: {line}" for line in problems)
        )
    return params
