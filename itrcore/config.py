"""params.yaml as typed, strict models: the only place where a number of an experiment is read from a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from itrcore import config_checks, layout
from itrcore.data.settings import DatasetSettings
from itrcore.errors import ConfigError, nearest
from itrcore.fetch.settings import DownloadSettings
from itrcore.models.settings import MethodSettings
from itrcore.settings import Count, Settings


def _name(text: str) -> str:
    if text in ("size", "nfiles"):
        raise ValueError(
            f"{text!r} cannot be a name: DVC leaves keys of this name out when it looks for cached results"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", text):
        raise ValueError(
            f"{text!r} cannot be a name; use letters, digits, - and _, a letter or digit first, at most 100 in all"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]  # safe as a folder, a DVC stage and an MLflow run


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

    profile: names changes to the method's published settings
    """

    data: Name
    method: Name
    profile: Name
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
    """The whole of params.yaml."""

    nltk: PunktSettings
    downloads: dict[Name, dict[Name, DownloadSettings]]  # name → part → where from
    datasets: dict[Name, DatasetSettings]
    methods: dict[Name, MethodSettings]
    profiles: dict[Name, dict[str, Any]]
    training: TrainingSettings
    evaluation: EvaluationSettings
    runs: dict[Name, RunSettings]
    ensembles: dict[Name, EnsembleSettings]
    report: ReportSettings

    @model_validator(mode="after")
    def _names_fit(self) -> Params:
        if problems := list(config_checks.problems(self)):
            raise ValueError("\n".join(problems))
        return self

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
        """The settings of a run's method with its profile laid over them. `ValueError` where they do not fit."""
        settings = self.run(run)
        return self.method_with(settings.method, settings.profile)

    def method_with(self, method: str, profile: str) -> MethodSettings:
        """The settings of a method with a profile laid over them. `ValueError` where they do not fit."""
        base = self.methods[method].model_dump(mode="json")
        where = f"profiles.{profile} over methods.{method}"
        merged = _overlay(base, self.profiles[profile])
        try:
            return _validate(MethodSettings, merged)
        except ValidationError as error:
            raise ValueError("\n".join(f"{where}: {line}" for line in _lines(error, merged))) from error


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
    except DuplicateKeyError as error:
        raise ConfigError(
            f"{path}, line {error.problem_mark.line + 1}: {error.problem}; remove one of the two"
        ) from error
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem or error.context}") from error
    except (YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of sections ({', '.join(Params.model_fields)})")
    if unfit := list(_not_plain(data, "", ())):
        raise ConfigError("\n".join(f"{path}: {line}" for line in unfit))
    try:
        return _validate(Params, data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _lines(error, data))) from error


S = TypeVar("S", bound=Settings)


def _validate(model: type[S], data: Any) -> S:
    # Through JSON: strict JSON mode takes lists where Python's strict mode insists on exact container types.
    return model.model_validate_json(json.dumps(data))


def _not_plain(value: Any, where: str, above: tuple[int, ...]) -> Iterator[str]:
    """What YAML can say and JSON, which everything here is checked and stored as, cannot."""
    if isinstance(value, dict | list):
        if id(value) in above:
            yield f"{where}: this anchor holds itself"
            return
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            here = f"{where}.{key}".removeprefix(".")
            if isinstance(value, dict) and not isinstance(key, str):
                yield f"{here}: the key {key} is not text but {type(key).__name__}; put it in quotes"
            yield from _not_plain(inner, here, (*above, id(value)))
    elif not isinstance(value, str | int | float | bool | None):
        yield f"{where}: {value} is not text but {type(value).__name__}; put it in quotes"


def _lines(error: ValidationError, data: Any) -> list[str]:
    """`methods.esa_bigru.recipe: unknown key …`, one line per problem."""
    lines = []
    for item in error.errors():
        where = ".".join(_location(item["loc"], data, keep_last=item["type"] == "missing"))
        lines += [f"{where}: {message}" if where else message for message in _message(item).split("\n")]
    return lines


def _message(item: Any) -> str:
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    message: str = item["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return "this key is missing"
    if kind == "union_tag_not_found":
        return f"the key {context['discriminator']} is missing"
    if kind == "union_tag_invalid":
        tag, known = context["tag"], [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        key = context["discriminator"].strip("'")
        return f"unknown {key} {tag!r}{nearest(tag, known)} (known: {', '.join(known)})"
    if given is None and kind in ("dict_type", "model_type", "model_attributes_type", "list_type"):
        return f"{message}; it is empty (write {{}} or [] for nothing)"
    if kind in ("unknown_key", "value_error") or isinstance(given, dict | list):
        return message
    return f"{message}, not {given!r}"


def _location(loc: tuple[int | str, ...], data: Any, keep_last: bool) -> list[str]:
    """The keys of the file on the way to an error, without the tags that discriminated unions put between them."""
    found = []
    for depth, part in enumerate(loc):
        inside = isinstance(data, dict) and part in data
        if inside or isinstance(part, int) or (keep_last and depth == len(loc) - 1):
            found.append(str(part) if str(part).isprintable() else repr(part))
            data = data[part] if inside or isinstance(data, list) else None
    return found


def _overlay(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `changes` in place of its own."""
    merged = dict(base)
    for key, value in changes.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if inner else value
    return merged
