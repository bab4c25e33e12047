"""An experiment's params.yaml, with the recipes that it names, as typed, strict models."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from itrcore import config_checks, layout, yaml_file
from itrcore.data.settings import DatasetSettings
from itrcore.errors import ConfigError
from itrcore.fetch.settings import DownloadSettings
from itrcore.models.settings import MethodSettings
from itrcore.recipes import Recipes
from itrcore.settings import Count, Name, Settings

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256


class CheckpointSettings(Settings):
    """A released checkpoint in place of a training; `itr import` writes this.

    vocabulary: the one it was trained with (SCAN's JSON, or BERT's vocab.txt); None: the data set's, or the method's BERT
    text_digest: of the ids that captions then get; with others the weights would mean nothing
    """

    path: str
    sha256: Digest
    text_digest: Digest
    vocabulary: str | None = None


class RunSettings(Settings):
    """One model on one data set: trained with a seed, or imported from a checkpoint.

    method: its recipe in `recipes/`; variant: one that the recipe has; profile: changes that params.yaml has, laid over both
    """

    data: Name
    method: Name
    variant: Name | None = None
    profile: Name | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    checkpoint: CheckpointSettings | None = None

    @model_validator(mode="after")
    def _trained_or_imported(self) -> RunSettings:
        if (self.seed is None) == (self.checkpoint is None):
            raise ValueError(
                "the key seed is missing"
                if self.seed is None
                else "give seed, for a training, or checkpoint, for an import, not both"
            )
        return self

    @property
    def changes(self) -> str:
        """What it changes of its method's recipe, for tables: `coco`, `small`, `coco+small`; `published` for nothing."""
        return "+".join(name for name in (self.variant, self.profile) if name) or "published"


class EnsembleSettings(Settings):
    """The mean of the similarity matrices of several runs on one data set."""

    data: Name
    runs: Annotated[list[Name], Field(min_length=2)]


class PunktSettings(Settings):
    """Where nltk's English sentence data comes from, tried in order: a folder of nltk data, a zip file, or a URL of it."""

    sources: list[str]
    sha256: Digest  # of the zip
    files: dict[str, Digest]  # of each file inside english/
    timeout: Annotated[float, Field(gt=0.0)]  # seconds without a byte before a source is given up


class SelectionSettings(Settings):
    """Which checkpoint of a training is kept: the one of highest rsum on the first captions of dev."""

    captions: Count


class TrainingSettings(Settings):
    """What every training shares, whatever the method."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bf16"]  # auto: bf16 on a GPU that has it, else float32
    threads: Count  # CPU threads; part of the result, as sums split differently over other numbers of threads
    save_every_steps: Count  # a killed run repeats at most this many steps
    selection: SelectionSettings


class EvaluationSettings(Settings):
    """Sizes that bound memory, and what the report shows; the metrics do not depend on them."""

    batch_size: Count
    tile: Count  # images and captions per similarity tile
    retrieved: Count  # rows shown for each query of the report
    queries: Count  # queries shown per direction, half of them good and half bad


class ReportSettings(Settings):
    """The report's own choices."""

    title: str


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
    report: ReportSettings
    _folder: Path = PrivateAttr()  # of the file, absolute
    _root: Path = PrivateAttr()
    _recipes: Recipes = PrivateAttr()

    @property
    def nltk(self) -> PunktSettings:
        """Where nltk's sentence data comes from: nltk.yaml in the root, for all experiments. `ConfigError` where it is wrong."""
        path = self.recipes.folder.parent / layout.NLTK_SETTINGS
        found = yaml_file.read(path, PunktSettings.model_fields, "it says where nltk's sentence data comes from")
        return yaml_file.settings(PunktSettings, found, path)

    @property
    def root_folder(self) -> Path:
        """Of `root`, absolute."""
        return self._root

    @property
    def project(self) -> Path:
        """The root that all experiments share, absolute. Of a `dvc exp` in a temporary copy, that of what was copied."""
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
        """The name of the `dvc exp` that this is a temporary copy for; None where it is none."""
        return None if _copied(self._folder) is None else os.environ.get("DVC_EXP_NAME", self._root.name)

    @property
    def recipes(self) -> Recipes:
        """The methods' recipes, read when they are asked for."""
        return self._recipes

    def run(self, name: str) -> RunSettings:
        """The run of this name. `ConfigError` where there is none."""
        for problem in config_checks.unknown("run", name, self.runs, "runs"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.runs[name]

    def dataset(self, name: str) -> DatasetSettings:
        """The data set of this name. `ConfigError` where there is none."""
        for problem in config_checks.unknown("data set", name, self.datasets, "datasets"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.datasets[name]

    def download(self, name: str) -> dict[Name, DownloadSettings]:
        """The parts of the download of this name. `ConfigError` where there is none."""
        for problem in config_checks.unknown("download", name, self.downloads, "downloads"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.downloads[name]

    def download_of(self, data: str) -> str | None:
        """The download that a data set reads, where its `reads` is the record of one."""
        reads = PurePosixPath(self.dataset(data).reads)
        return next((name for name in self.downloads if layout.download_record(name) == Path(reads)), None)

    def ensemble(self, name: str) -> EnsembleSettings:
        """The ensemble of this name. `ConfigError` where there is none."""
        for problem in config_checks.unknown("ensemble", name, self.ensembles, "ensembles"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.ensembles[name]

    def method_of(self, run: str) -> MethodSettings:
        """The settings of a run's method: its recipe, its variant, its profile. `ConfigError` where they do not fit."""
        settings = self.run(run)
        return self.method_with(settings.method, settings.variant, settings.profile)

    def method_with(self, method: str, variant: str | None = None, profile: str | None = None) -> MethodSettings:
        """A recipe with a variant of its own and a profile of params.yaml laid over it. `ConfigError` where they do not fit."""
        for problem in config_checks.unknown("method", method, self.recipes, "recipes"):
            raise ConfigError(f"params.yaml: {problem}")
        recipe = self.recipes[method].with_variant(variant)
        if profile is None:
            return recipe
        for problem in config_checks.unknown("profile", profile, self.profiles, "profiles"):
            raise ConfigError(f"params.yaml: {problem}")
        merged = yaml_file.overlay(recipe.model_dump(mode="json"), self.profiles[profile])
        over = method if variant is None else f"{method}, variant {variant}"
        return yaml_file.settings(MethodSettings, merged, f"profiles.{profile} over {over}")


# What only older forms of the file have, and what to do.
_OLD = {
    "methods": "the methods' recipes are files now, one each in recipes/. Remove the block methods. Numbers of your own in it: "
    "a method of yours becomes recipes/<name>.yaml, a change of a published one a profile",
    "nltk": "where nltk's data comes from stands in nltk.yaml, beside recipes/. Remove it here",
}


def _copied(folder: Path) -> Path | None:
    """The folder that `dvc exp` copied for a run beside others, where `folder` is in such a copy."""
    parts = folder.parts
    at = next((i for i in range(len(parts)) if parts[i : i + 3] == (".dvc", "tmp", "exps")), None)
    return None if at is None else Path(*parts[:at])


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check an experiment. `ConfigError` names each wrong key, the nearest valid one and the file."""
    return _checked(yaml_file.read(path, Params.model_fields, "run from a folder that holds params.yaml"), path)


def load_text(text: str, path: Path) -> Params:
    """As `load`, of the text that the file at `path` would have."""
    return _checked(yaml_file.parse(text, path, Params.model_fields), path)


def _checked(data: dict[str, Any], path: Path) -> Params:
    for key in (key for key in _OLD if key in data):
        raise ConfigError(f"{path}: {key}: this file is of an older form: {_OLD[key]} (docs/experiments.md)")
    params = yaml_file.settings(Params, data, path)
    # Resolved, but for a link at the file itself: errors name files as they were given.
    params._folder = path.parent.resolve()
    params._root = (params._folder / params.root).resolve()
    params._recipes = Recipes(path.parent / params.root / layout.RECIPES)
    if problems := list(config_checks.problems(params)):
        # What is wrong in a recipe names that file itself.
        raise ConfigError(
            "\n".join(line if line.startswith(str(params.recipes.folder)) else f"{path}: {line}" for line in problems)
        )
    return params
