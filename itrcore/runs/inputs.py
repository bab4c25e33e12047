"""What decides a run's weights, and what decides its scores: one record each of the code, settings and data that it reads.

The stage `inputs` writes these records. `train` and `evaluate` depend on them alone: they run again when their record
changes, and only then. A record also identifies an unfinished training, and run.json keeps it to tell later what changed.
For `judge` and `ensemble` it writes which protocols a data set is judged by, and what their code says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from itrcore import code, intact, layout, registry
from itrcore.announce import announced
from itrcore.data.shards.files import read_description
from itrcore.errors import ConfigError, DataError
from itrcore.files import read_json, replacing, write_json
from itrcore.runs import digests
from itrcore.runs.folder import RUN, SCORES
from itrcore.runs.records import Inputs
from itrcore.settings.datasets import SPLITS
from itrcore.settings.encoders import BiGRUSettings
from itrcore.settings.methods import MethodSettings, SetSettings
from itrcore.settings.params import Params

EXTRACTION = "itrcore.extraction.shards"  # beside the extractor's own module
_TRAINED, _IMPORTED, _EVALUATED = "itrcore.training.train", "itrcore.released.importing", "itrcore.evaluation.evaluate"
_ZERO_SHOT, _PULLED = "itrcore.training.zero_shot", "itrcore.runs.pulled"
_UNFORCED = "auto or cpu"
_NAMES = {"bert": "BERT", "clip": "CLIP", "towers": "dual encoder"}  # of pretrained weights, for people
_LAYOUTS = "itrcore.released.layouts"  # a module for each kind of method


def modules(settings: MethodSettings, loss: bool = False) -> list[str]:
    """The modules that a run of these settings loads by name, from the registry. loss: that of its loss too, for a training"""
    model = settings.model
    places = [
        registry.METHODS[model.kind][1],
        registry.IMAGE_SIDES[model.images],
        registry.TEXT_SIDES[model.text.kind],
        registry.READERS["pixels" if model.reads_pixels else "regions"],
    ]
    if loss:
        places.append(registry.LOSSES[settings.loss.compared.kind])
        places += [place for kind, place in registry.OBJECTIVES.items() if kind == settings.loss.kind]
    return [registry.module(place) for place in places]


def training(params: Params, name: str) -> Inputs:
    """What decides the weights of run `name`, wherever they are from. `DataError` where its data set is not prepared."""
    run, settings = params.run(name), params.method_of(name)
    if run.checkpoint is not None and run.checkpoint.source is not None:
        return {
            "code": code.of(_PULLED),
            "settings": {"checkpoint": run.checkpoint.model_dump(include={"sha256", "source"})},
            "data": _extractor(run.data, settings),
        }
    if run.checkpoint is not None:
        # A checkpoint's layout is loaded by name. A method without one is refused by the import itself.
        layouts = set(code.modules()) & {f"{_LAYOUTS}.{settings.model.kind}"}
        return {
            "code": code.of(_IMPORTED, *layouts, *modules(settings)),
            "settings": {
                **settings.model_dump(mode="json", exclude={"loss", "recipe"}),
                "checkpoint": run.checkpoint.model_dump(include={"sha256", "text_digest"}),
            },
            "data": {**_assets(run.data, settings), **_extractor(run.data, settings)},
        }
    if settings.zero_shot:
        return {
            "code": code.of(_ZERO_SHOT, *modules(settings)),
            "settings": settings.model_dump(mode="json", exclude={"loss", "recipe"}),
            "data": _assets(run.data, settings),
        }
    return {
        "code": code.of(_TRAINED, *modules(settings, loss=True)),
        "settings": {
            **settings.model_dump(mode="json"),
            "seed": run.seed,
            "training": _shared(params, "selection", "compile"),
        },
        "data": {
            **{split: _split(run.data, split, settings) for split in ("train", "dev")},
            **_assets(run.data, settings),
            **_extractor(run.data, settings),
        },
    }


def evaluation(params: Params, name: str) -> Inputs:
    """What decides the scores of a run or transfer besides its weights. `DataError` where its data set is not prepared."""
    each = params.evaluated(name)
    settings, data = params.method_of(each.run), each.data
    splits = ("dev", "test") if data == each.trained_on else ("test",)
    further = params.dataset(data).further
    return {
        "code": code.of(_EVALUATED, *modules(settings), *(registry.module(registry.FURTHER[key]) for key in further)),
        "settings": {
            "evaluation": params.evaluation.model_dump(mode="json", include={"batch_size", "tile", "vectors"}),
            "training": _shared(params, "selection"),
        },
        "data": {
            **{split: _split(data, split, settings) for split in splits},
            **{key: digests.file_or_folder(path) for key, path in further.items()},
        },
    }


def extraction(params: Params, data: str) -> Inputs:
    """What decides the features that are computed from a data set's pictures; {} where none are. `DataError` as of `training`."""
    settings = params.dataset(data).features
    if settings is None:
        return {}
    shards, weights = layout.image_shards(data), getattr(settings.extractor, "weights", None)
    return {
        "code": code.of(EXTRACTION, registry.module(registry.EXTRACTORS[settings.extractor.kind])),
        "settings": settings.model_dump(mode="json"),
        "data": {
            **{split: {"pictures": digests.images_of(shards, split)} for split in SPLITS},
            "weights": digests.file_or_folder(Path(weights)) if weights else None,
        },
    }


def judging(params: Params, data: str) -> Inputs:
    """What decides how a data set's scores are judged, beside the stages' own code: its protocols."""
    dataset = params.dataset(data)
    listed = {name: registry.PROTOCOLS[name] for name in (registry.WHOLE_SPLIT, *dataset.protocols)}
    record: Inputs = {name: code.of(registry.module(protocol.place)) for name, protocol in listed.items()}
    if dataset.ratings is not None and any(protocol.reads == "cxc" for protocol in listed.values()):
        record["ratings"] = digests.file_or_folder(dataset.ratings)
    return record


def _shared(params: Params, *more: str) -> Inputs:
    """What decides a result of the settings that all trainings and evaluations share. more: keys beside the common ones

    On a CPU, auto is cpu: to say so must run nothing again. A record of the device that is found would be another on each machine.
    """
    values = params.training.model_dump(mode="json", include={"device", "precision", "threads", *more})
    return {**values, "device": _UNFORCED} if values["device"] in ("auto", "cpu") else values


# By stage.
RECORDS: dict[str, Callable[[Params, str], Inputs]] = {
    "train": training,
    "evaluate": evaluation,
    "transfer": evaluation,
}


def write(params: Params, data: str) -> int:
    """Write the records of every run on a data set, and that of its protocols; returns the number of these runs."""
    names = [name for name, run in params.runs.items() if run.data == data]
    for stage in ("train", "evaluate"):
        with replacing(layout.inputs(stage, data)) as folder:
            folder.mkdir(parents=True)
            for name in names:
                write_json(folder / f"{name}.json", RECORDS[stage](params, name))
    write_json(layout.judging(data), judging(params, data))
    return len(names)


def write_transfer(params: Params, name: str) -> None:
    """Write the record of a transfer."""
    write_json(layout.inputs("transfer", params.transfers[name].data) / f"{name}.json", evaluation(params, name))


def checked(params: Params, stage: str, name: str) -> Inputs:
    """The record of a run for a stage that begins.

    `ConfigError` where DVC knows another one: the results would be kept as those of other code, settings or data.
    """
    data = params.evaluated(name).data
    before = f"transfer_inputs@{name}" if stage == "transfer" else f"inputs@{data}"
    with announced("Comparing code, settings and data with their record"):
        record = RECORDS[stage](params, name)
    _check(layout.inputs(stage, data) / f"{name}.json", record, f"{stage}@{name}", before)
    return record


def check_extraction(params: Params, data: str) -> None:
    """`ConfigError` where DVC knows another record than `extraction` gives now."""
    _check(layout.extraction(data), extraction(params, data), f"features@{data}", f"extractor@{data}")


def _check(path: Path, record: Inputs, stage: str, before: str) -> None:
    known = _read(path) if path.exists() else None
    if known != record:
        changed = "no such file" if known is None else "; ".join(differences(known, record))
        raise ConfigError(
            f"{path}: not what decides {stage.partition('@')[2]} now ({changed}). Run: dvc repro {stage}; with --single-item, "
            f"run code and {before} first"
        )


def changes(params: Params, name: str) -> dict[str, list[str]]:
    """What changed since run `name` was trained and since it was evaluated: stage → lines for people. Or of a transfer."""
    data = params.evaluated(name).data
    done = {"train": layout.run(data, name) / RUN, "evaluate": layout.evaluation(data, name) / SCORES}
    if name in params.transfers:
        done = {"transfer": layout.evaluation(data, name) / SCORES}
    lines: dict[str, list[str]] = {}
    for stage, path in done.items():
        if path.exists():
            inputs = _read(path).get("inputs")
            changed = list(differences(inputs if isinstance(inputs, dict) else {}, RECORDS[stage](params, name)))
            lines[stage] = changed or ["nothing that decides the result has changed since"]
        else:
            lines[stage] = ["not done yet"]
    return lines


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, TypeError, ValueError) as error:
        raise DataError.at(
            path, f"cannot be read ({error})", "a record of what decides a run", do="Run: dvc repro"
        ) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What changed from one record to another, in words: a line for each entry."""
    before, now = dict(_flat(old)), dict(_flat(new))
    for key in dict.fromkeys((*before, *now)):
        if before.get(key) != now.get(key):
            yield _in_words(key, before.get(key), now.get(key))


def _in_words(key: tuple[str, ...], old: Any, new: Any) -> str:
    part, *rest = key
    if part == "code":
        file = rest[0] if "/" in rest[0] else f"{rest[0].replace('.', '/')}.py"
        return f"{file} " + ("is not used any more" if new is None else "is used now" if old is None else "has changed")
    if part == "settings":
        return f"{'.'.join(rest)} was {_value(old)} and is {_value(new)}"
    named = f"{rest[1]} of {rest[0]}" if len(rest) > 1 else rest[0]
    return f"{named}: " + ("there are none now" if new is None else "there are some now" if old is None else "others")


def _value(value: Any) -> str:
    return "not there" if value is None else str(value)


def _flat(value: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, (*above, key))
        else:
            yield (*above, key), inner


def _split(data: str, split: str, settings: MethodSettings) -> Inputs:
    pixels = settings.model.reads_pixels
    shards = layout.image_shards(data) if pixels else layout.region_shards(data)
    return {
        "captions": digests.captions_of(layout.captions(data), split),
        "pictures" if pixels else "regions": digests.images_of(shards, split),
    }


def _extractor(data: str, settings: MethodSettings) -> Inputs:
    """The description of what computed the region features of a run, from which features of new pictures can be computed."""
    shards = layout.region_shards(data)
    if settings.model.reads_pixels or not shards.exists():
        return {}
    description = read_description(shards).get("extractor")
    return {} if description is None else {"extractor": description}


def _assets(data: str, settings: MethodSettings) -> Inputs:
    """What a run begins with: vocabulary, vectors and concepts of its data set, or pretrained weights on this disk.

    Weights of a hub are identified by their name and revision, which are in the settings.
    """
    text, vocabulary, starts_from = settings.model.text, layout.vocabulary(data), dict[str, str | None]()
    if vocabulary.exists():  # where it does not, the digests say so
        intact.check_sealed(vocabulary)
    if isinstance(text, BiGRUSettings):
        starts_from["vocabulary"] = digests.file_or_folder(vocabulary / layout.WORDS)
        if text.init == "glove":
            starts_from["word vectors"] = digests.file_or_folder(vocabulary / layout.VECTORS)
    elif text.shape is not None:
        starts_from["word pieces"] = digests.file_or_folder(vocabulary / layout.PIECES)
    else:
        starts_from[_NAMES[text.kind]] = digests.file_or_folder(Path(text.weights))
    if isinstance(settings.model, SetSettings) and settings.model.grid is not None:
        starts_from["backbone"] = digests.file_or_folder(Path(settings.model.grid.weights))
    if settings.model.concepts:
        concepts = layout.concepts(data)
        if concepts.exists():
            intact.check_sealed(concepts)
        starts_from["concepts"] = digests.file_or_folder(concepts)
    return starts_from
