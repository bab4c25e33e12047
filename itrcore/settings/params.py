"""The whole of an experiment's params.yaml, with the recipes that it names, as one typed, strict model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr

from itrcore import layout
from itrcore.errors import ConfigError, unknown
from itrcore.settings import yaml_file
from itrcore.settings.datasets import DatasetSettings
from itrcore.settings.downloads import DownloadSettings, PunktSettings
from itrcore.settings.evaluation import EvaluationSettings, ReportSettings
from itrcore.settings.methods import MethodSettings
from itrcore.settings.recipes import Recipes
from itrcore.settings.runs import EnsembleSettings, RunSettings, TransferSettings
from itrcore.settings.strict import Name, Settings
from itrcore.settings.training import TrainingSettings

T = TypeVar("T")


class Params(Settings):
    """The whole of params.yaml.

    root: the folder of `itrcore`, `stages` and `recipes`, seen from this file; dvc.yaml reads it too
    profiles: changes to methods, laid over the recipes of the runs that name them
    """

    root: str
    downloads: dict[Name, dict[Name, DownloadSettings]]  # name → part → where from
    datasets: dict[Name, DatasetSettings]
    profiles: dict[Name, dict[str, Any]]
    training: TrainingSettings
    evaluation: EvaluationSettings
    runs: dict[Name, RunSettings]
    ensembles: dict[Name, EnsembleSettings]
    transfers: dict[Name, TransferSettings] = Field(default={})
    report: ReportSettings
    _folder: Path = PrivateAttr()  # of the file, absolute
    _root: Path = PrivateAttr()
    _recipes: Recipes = PrivateAttr()

    @property
    def nltk(self) -> PunktSettings:
        """Where nltk's sentence data comes from: nltk.yaml in the root, for all experiments. `ConfigError` where it is wrong."""
        path = self.recipes.folder.parent / layout.NLTK_SETTINGS
        data = yaml_file.read(path, PunktSettings.model_fields, "it says where nltk's sentence data comes from")
        return yaml_file.settings(PunktSettings, data, path)

    @property
    def root_folder(self) -> Path:
        """The folder that `root` names, absolute."""
        return self._root

    @property
    def project(self) -> Path:
        """The root that all experiments share, absolute. In a temporary copy of `dvc exp`, the root of what was copied."""
        copied = _copied(self._folder)
        return self._root if copied is None else (copied / self.root).resolve()

    @property
    def experiment(self) -> str:
        """The experiment's folder in `experiments/`; empty for the embedded one."""
        try:
            parts = self._folder.relative_to(self._root).parts
        except ValueError:
            return self._folder.name
        return "/".join(parts[1:] if parts[:1] == ("experiments",) else parts)

    @property
    def trial(self) -> str | None:
        """The name of the `dvc exp` whose temporary copy this is; None where it is none."""
        return None if _copied(self._folder) is None else os.environ.get("DVC_EXP_NAME", self._root.name)

    @property
    def recipes(self) -> Recipes:
        """The methods' recipes, read when they are asked for."""
        return self._recipes

    def run(self, name: str) -> RunSettings:
        """The run of this name. `ConfigError` where there is none."""
        return _named("run", name, self.runs, "runs")

    def dataset(self, name: str) -> DatasetSettings:
        """The data set of this name. `ConfigError` where there is none."""
        return _named("data set", name, self.datasets, "datasets")

    def download(self, name: str) -> dict[Name, DownloadSettings]:
        """The parts of the download of this name. `ConfigError` where there is none."""
        return _named("download", name, self.downloads, "downloads")

    def download_of(self, data: str) -> str | None:
        """The download whose record a data set's `reads` names; None where it names no record."""
        reads = Path(self.dataset(data).reads)
        return next((name for name in self.downloads if layout.download_record(name) == reads), None)

    def ensemble(self, name: str) -> EnsembleSettings:
        """The ensemble of this name. `ConfigError` where there is none."""
        return _named("ensemble", name, self.ensembles, "ensembles")

    def evaluated(self, name: str) -> TransferSettings:
        """Which run is evaluated under a name, and on what: a run on its own data set, or a transfer. `ConfigError` for neither."""
        if name in self.transfers:
            return self.transfers[name]
        data = self.run(name).data
        return TransferSettings(run=name, trained_on=data, data=data)

    def method_of(self, run: str) -> MethodSettings:
        """The settings of a run's method: its recipe, its variant, its profile. `ConfigError` where they do not fit."""
        settings = self.run(run)
        return self.method_with(settings.method, settings.variant, settings.profile)

    def method_with(self, method: str, variant: str | None = None, profile: str | None = None) -> MethodSettings:
        """A recipe with a variant of its own and a profile of params.yaml laid over it. `ConfigError` where they do not fit."""
        settings = _named("method", method, self.recipes, "recipes").with_variant(variant)
        if profile is None:
            return settings
        changes = _named("profile", profile, self.profiles, "profiles")
        merged = yaml_file.overlay(settings.model_dump(mode="json"), changes)
        over = method if variant is None else f"{method}, variant {variant}"
        return yaml_file.settings(MethodSettings, merged, f"profiles.{profile} over {over}")


def _named(kind: str, name: str, entries: Mapping[str, T], section: str) -> T:
    """The entry of this name. `ConfigError` with the nearest one where there is none."""
    for problem in unknown(kind, name, entries, section):
        raise ConfigError(f"params.yaml: {problem}")
    return entries[name]


def _copied(folder: Path) -> Path | None:
    """The project that `dvc exp` copied, where `folder` lies in such a temporary copy; else None."""
    parts = folder.parts
    at = next((i for i in range(len(parts)) if parts[i : i + 3] == (".dvc", "tmp", "exps")), None)
    return None if at is None else Path(*parts[:at])
