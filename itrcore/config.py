"""params.yaml as typed, strict models: the only place where a number of an experiment is read from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from itrcore.data.settings import DatasetSettings
from itrcore.errors import ConfigError, nearest
from itrcore.models.settings import Count, MethodSettings
from itrcore.settings import Settings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # safe as a folder, a DVC stage and an MLflow run


class RunSettings(Settings):
    """One training: which data, method and seed; `profile` names changes to the method's published settings."""

    data: Name
    method: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    profile: Name


class EnsembleSettings(Settings):
    """The mean of the similarity matrices of several runs on one data set."""

    data: Name
    runs: Annotated[list[Name], Field(min_length=2)]


class PunktSettings(Settings):
    """Where nltk's English sentence data comes from, tried in order: a folder of nltk data, a zip file, or a URL of it."""

    sources: list[str]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of the zip
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]  # of each file inside english/
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
    """The whole of params.yaml."""

    nltk: PunktSettings
    datasets: dict[Name, DatasetSettings]
    methods: dict[Name, MethodSettings]
    profiles: dict[Name, dict[str, Any]]
    training: TrainingSettings
    evaluation: EvaluationSettings
    runs: dict[Name, RunSettings]
    ensembles: dict[Name, EnsembleSettings]
    report: ReportSettings

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        seen: dict[tuple[str, str, int], str] = {}
        for name, run in self.runs.items():
            where = f"runs.{name}"
            _must_exist(f"{where}.data", run.data, self.datasets, "datasets")
            _must_exist(f"{where}.method", run.method, self.methods, "methods")
            _must_exist(f"{where}.profile", run.profile, self.profiles, "profiles")
            twin = seen.setdefault((run.data, run.method, run.seed), name)
            if twin != name:
                raise ValueError(f"{where}: same data, method and seed as runs.{twin}; remove one or change its seed")
            self.method_of(name)
        for name, ensemble in self.ensembles.items():
            where = f"ensembles.{name}"
            _must_exist(f"{where}.data", ensemble.data, self.datasets, "datasets")
            if name in self.runs:
                raise ValueError(f"{where}: a run has this name already; choose another")
            if len(set(ensemble.runs)) < len(ensemble.runs):
                raise ValueError(f"{where}.runs: a run is listed twice in {ensemble.runs}")
            for run_name in ensemble.runs:
                _must_exist(f"{where}.runs", run_name, self.runs, "runs")
                if self.runs[run_name].data != ensemble.data:
                    raise ValueError(
                        f"{where}.runs: {run_name} is a run on {self.runs[run_name].data}, not on {ensemble.data}; "
                        "an ensemble needs one and the same data set"
                    )
        return self

    def method_of(self, run: str) -> MethodSettings:
        """The settings of a run's method with its profile laid over them. `ValueError` where they do not fit."""
        settings = self.runs[run]
        base = self.methods[settings.method].model_dump(mode="json")
        where = f"profiles.{settings.profile} over methods.{settings.method}"
        merged = _overlay(base, self.profiles[settings.profile])
        try:
            return _validate(MethodSettings, merged)
        except ValidationError as error:
            raise ValueError(f"{where} (runs.{run}): " + "; ".join(_lines(error, merged))) from error


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml. `ConfigError` names each wrong key, the nearest valid one and the file."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path.absolute()}: not found; run from the folder that holds params.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    try:
        # ruamel, as DVC does: YAML 1.2 (5e-4 is a number) and a key given twice is an error.
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of sections ({', '.join(Params.model_fields)})")
    try:
        return _validate(Params, data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _lines(error, data))) from error


S = TypeVar("S", bound=Settings)


def _validate(model: type[S], data: Any) -> S:
    # Through JSON: strict JSON mode takes lists where Python's strict mode insists on exact container types.
    return model.model_validate_json(json.dumps(data, default=str))


def _lines(error: ValidationError, data: Any) -> list[str]:
    """`methods.esa_bigru.recipe: unknown key …`, one line per problem."""
    lines = []
    for item in error.errors():
        where = ".".join(_location(item["loc"], data, keep_last=item["type"] == "missing"))
        message = item["msg"].removeprefix("Value error, ")
        given = item.get("input")
        if item["type"] not in ("unknown_key", "value_error", "missing") and not isinstance(given, dict | list):
            message += f", not {given!r}"
        lines.append(f"{where}: {message}" if where else message)
    return lines


def _location(loc: tuple[int | str, ...], data: Any, keep_last: bool) -> list[str]:
    """The keys of the file on the way to an error, without the tags that discriminated unions put between them."""
    found = []
    for depth, part in enumerate(loc):
        inside = isinstance(data, dict) and part in data
        if inside or isinstance(part, int) or (keep_last and depth == len(loc) - 1):
            found.append(str(part))
            data = data[part] if inside or isinstance(data, list) else None
    return found


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `changes` in place of its own."""
    merged = dict(base)
    for key, value in changes.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if inner else value
    return merged


def _must_exist(where: str, name: str, known: dict[str, Any], section: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: no {name!r} in {section}{nearest(name, list(known))} (known: {', '.join(known)})")
