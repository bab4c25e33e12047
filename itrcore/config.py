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

from itrcore import layout
from itrcore.data.settings import DatasetSettings
from itrcore.errors import ConfigError, nearest
from itrcore.fetch.settings import DownloadSettings
from itrcore.models.settings import BertSettings, BiGRUSettings, Count, MethodSettings
from itrcore.settings import Settings


def _name(text: str) -> str:
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
    """

    path: str
    sha256: Digest
    vocabulary: str | None = None
    vocabulary_sha256: Digest | None = None

    @model_validator(mode="after")
    def _vocabulary_has_a_digest(self) -> CheckpointSettings:
        if (self.vocabulary is None) != (self.vocabulary_sha256 is None):
            raise ValueError("vocabulary and vocabulary_sha256 go together; itr import writes both")
        return self


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
        if problems := [*self._wrong_names(), *self._wrong_reads(), *self._wrong_runs(), *self._wrong_ensembles()]:
            raise ValueError("\n".join(problems))
        return self

    def _wrong_names(self) -> Iterator[str]:
        if "nltk" in self.datasets:
            yield "datasets.nltk: data/nltk holds nltk's sentence data; choose another name"
        yield from _alike("datasets", self.datasets)
        yield from _alike("downloads", self.downloads)
        yield from _alike("runs and ensembles", [*self.runs, *self.ensembles])

    def _wrong_reads(self) -> Iterator[str]:
        for name, dataset in self.datasets.items():
            path = PurePosixPath(dataset.reads)
            if path.parts[:1] == (str(layout.DOWNLOADS),) and self.download_of(name) is None:
                known = [str(layout.download_record(known)) for known in self.downloads]
                yield (
                    f"datasets.{name}.reads: {dataset.reads} is the record of no download{nearest(dataset.reads, known)} "
                    f"(known: {', '.join(known)})"
                )
            for key, given in dataset.paths().items():
                parts = PurePosixPath(given).parts
                if parts[:1] == (str(layout.DOWNLOADS),) and len(parts) > 1:
                    record = layout.download_record(parts[1]).as_posix()
                    if record != path.as_posix():
                        yield (
                            f"datasets.{name}.{key}: {given} is fetched only where reads is {record}, not {dataset.reads}; "
                            "what does not come from there may be a part of that download with link: true"
                        )

    def _wrong_runs(self) -> Iterator[str]:
        seen: dict[tuple[str, str, int | str], str] = {}
        pairs: set[tuple[str, str]] = set()
        for name, run in self.runs.items():
            where = f"runs.{name}"
            unknown = [
                *_unknown(f"{where}.data", run.data, self.datasets, "datasets"),
                *_unknown(f"{where}.method", run.method, self.methods, "methods"),
                *_unknown(f"{where}.profile", run.profile, self.profiles, "profiles"),
            ]
            yield from unknown
            if run.data in self.datasets and self.datasets[run.data].without_regions:
                yield f"{where}: {run.data} has no region features, which every method so far needs"
            what = run.seed if run.checkpoint is None else run.checkpoint.sha256
            assert what is not None
            twin = seen.setdefault((run.data, run.method, what), name)
            if twin != name and run.checkpoint is None:
                yield f"{where}: same data, method and seed as runs.{twin}; remove one or change its seed"
            if twin != name and run.checkpoint is not None:
                yield f"{where}: same data, method and checkpoint as runs.{twin}; remove one"
            if unknown:
                continue
            try:
                method = self.method_of(name)
            except ValueError as error:
                if (run.method, run.profile) not in pairs:  # they serve many runs: what is wrong with them is said once
                    yield str(error)
                pairs.add((run.method, run.profile))
            else:
                yield from self._wrong_text(where, run, method)

    def _wrong_text(self, where: str, run: RunSettings, method: MethodSettings) -> Iterator[str]:
        """What a method's text encoder needs of its data set."""
        if run.checkpoint is not None:
            return  # it brings its own weights, and says which vocabulary
        text, vocabulary = method.model.text, self.datasets[run.data].vocabulary
        if isinstance(text, BiGRUSettings) and text.init == "glove":
            if vocabulary.glove is None:
                yield (
                    f"{where}: {run.method} starts its word embeddings from GloVe, and "
                    f"datasets.{run.data}.vocabulary.glove names no file of it; give one, or lay "
                    "model: {text: {init: random}} over the method in a profile"
                )
            elif vocabulary.glove.width != text.word_dim:
                yield (
                    f"{where}: {run.method} with profile {run.profile} has text.word_dim {text.word_dim}, and the vectors "
                    f"of datasets.{run.data}.vocabulary.glove have width {vocabulary.glove.width}; make them the same"
                )
        if isinstance(text, BertSettings) and text.size is not None and vocabulary.word_pieces is None:
            yield (
                f"{where}: {run.method} with profile {run.profile} starts a BERT at random, which needs word pieces of the data "
                f"set; give datasets.{run.data}.vocabulary.word_pieces, such as {{size: 4000, min_count: 2}}"
            )

    def _wrong_ensembles(self) -> Iterator[str]:
        for name, ensemble in self.ensembles.items():
            where = f"ensembles.{name}"
            yield from _unknown(f"{where}.data", ensemble.data, self.datasets, "datasets")
            if name in self.runs:
                yield f"{where}: a run has this name already; choose another"
            if len(set(ensemble.runs)) < len(ensemble.runs):
                yield f"{where}.runs: a run is listed twice in {ensemble.runs}"
            for run in ensemble.runs:
                yield from _unknown(f"{where}.runs", run, self.runs, "runs")
                if run in self.runs and self.runs[run].data != ensemble.data:
                    yield (
                        f"{where}.runs: {run} is a run on {self.runs[run].data}, not on {ensemble.data}; an ensemble "
                        "needs one and the same data set"
                    )

    def run(self, name: str) -> RunSettings:
        """The run of this name. `ConfigError` where there is none."""
        for problem in _unknown("run", name, self.runs, "runs"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.runs[name]

    def dataset(self, name: str) -> DatasetSettings:
        """The data set of this name. `ConfigError` where there is none."""
        for problem in _unknown("data set", name, self.datasets, "datasets"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.datasets[name]

    def download(self, name: str) -> dict[Name, DownloadSettings]:
        """The parts of the download of this name. `ConfigError` where there is none."""
        for problem in _unknown("download", name, self.downloads, "downloads"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.downloads[name]

    def download_of(self, data: str) -> str | None:
        """The download that a data set reads, where its `reads` is the record of one."""
        reads = PurePosixPath(self.dataset(data).reads)
        return next((name for name in self.downloads if layout.download_record(name) == Path(reads)), None)

    def ensemble(self, name: str) -> EnsembleSettings:
        """The ensemble of this name. `ConfigError` where there is none."""
        for problem in _unknown("ensemble", name, self.ensembles, "ensembles"):
            raise ConfigError(f"params.yaml: {problem}")
        return self.ensembles[name]

    def method_of(self, run: str) -> MethodSettings:
        """The settings of a run's method with its profile laid over them. `ValueError` where they do not fit."""
        settings = self.run(run)
        base = self.methods[settings.method].model_dump(mode="json")
        where = f"profiles.{settings.profile} over methods.{settings.method}"
        merged = _overlay(base, self.profiles[settings.profile])
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


def _unknown(where: str, name: str, known: dict[str, Any], section: str) -> Iterator[str]:
    if name not in known:
        yield f"{where}: no {name!r} in {section}{nearest(name, list(known))} (known: {', '.join(known)})"


def _alike(section: str, names: Iterable[str]) -> Iterator[str]:
    """Names that a file system without upper and lower case would put into one folder."""
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            yield f"{section}: {name} and {twin} differ only in upper and lower case; some file systems take them for one"
