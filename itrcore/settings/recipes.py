"""The methods' recipes: `recipes/<method>.yaml` holds one method's published numbers, where they are from, and its variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from itrcore.errors import ConfigError, nearest
from itrcore.settings import yaml_file
from itrcore.settings.methods import MethodSettings
from itrcore.settings.strict import Name


class _File(MethodSettings):
    """All keys of a recipe: the method's settings, their source and their variants."""

    source: str
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)


class Recipe:
    """One file.

    source: the paper and the code that the numbers are from; variants: the settings as another data set or release has them
    """

    def __init__(self, path: Path) -> None:
        """`ConfigError` where the file, or a variant laid over it, is not valid."""
        data = yaml_file.read(path, _File.model_fields, "a method's recipe lies there")
        # All keys at once, so that a misspelt one is compared with all of them.
        file = yaml_file.settings(_File, data, path)
        self.path = path
        self.source = file.source
        self.settings = MethodSettings.model_validate({key: getattr(file, key) for key in MethodSettings.model_fields})
        base = self.settings.model_dump(mode="json")
        self.variants = {
            name: yaml_file.settings(MethodSettings, yaml_file.overlay(base, changes), f"{path}: variants.{name}")
            for name, changes in file.variants.items()
        }

    def with_variant(self, name: str | None) -> MethodSettings:
        """The settings of a variant; of None, those of the file itself. `ConfigError` where there is no such variant."""
        if name is None:
            return self.settings
        if name not in self.variants:
            known = list(self.variants)
            listed = f" (known: {', '.join(known)})" if known else ": it has none"
            raise ConfigError(f"{self.path}: no variant {name!r}{nearest(name, known)}{listed}")
        return self.variants[name]


class Recipes(Mapping[str, Recipe]):
    """The files of a folder by their methods' names. Each is read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Recipe] = {}

    @cached_property
    def names(self) -> list[str]:
        """Of all methods, in order."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def __getitem__(self, name: str) -> Recipe:
        """`KeyError` where there is no such file, `ConfigError` where it is not valid."""
        if name not in self._read:
            if name not in self.names:
                raise KeyError(name)
            self._read[name] = Recipe(self.folder / f"{name}.yaml")
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        """Does not read the file: who asks for a name alone should not meet the file's errors."""
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
