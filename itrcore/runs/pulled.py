"""A run that was trained in another checkout: checked, and put into this one as a run that is evaluated and not trained again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from itrcore import code, layout
from itrcore.errors import ConfigError, DataError
from itrcore.files import sha256, sha256_of_all
from itrcore.runs import inputs
from itrcore.runs.folder import HISTORY, RUN, read, untrained, write
from itrcore.runs.observer import Observer
from itrcore.runs.records import Checkpoint, Inputs, Run
from itrcore.settings.params import Params
from itrcore.settings.runs import RunSettings

_SHOWN = 3  # modules whose code has changed


def read_folder(folder: Path, source: str) -> Run:
    """The record of a training in a folder that others made, whose files are exactly those that it lists, unchanged.

    source: what errors call the folder. `DataError` where it is not such a folder.
    """
    again = "Pull it again, or ask where it was trained."
    try:
        run = read(folder / RUN, Run, "train")
    except DataError as error:
        what = "no such file" if not (folder / RUN).exists() else "damaged, or of another form"
        raise DataError.at(f"{source}: {RUN}", what, "the record of a training", do=again) from error
    if run.origin != "trained":
        wanted = "a trained one, as others can be made here: see itr import, and zero-shot methods"
        raise DataError.at(source, f"the run is {run.origin}", wanted)
    found = {name: digest for name, digest in sha256_of_all(folder).items() if name not in (RUN, HISTORY)}
    for name in sorted(found.keys() | run.files.keys()):
        if found.get(name) != run.files.get(name):
            what = (
                "is missing" if name not in found else "is not of this run" if name not in run.files else "is damaged"
            )
            raise DataError.at(f"{source}: {name}", what, f"the files that {RUN} lists, as they were written", do=again)
    return run


def settings_for(params: Params, record: Run, data: str, source: str) -> tuple[RunSettings, list[str]]:
    """How params.yaml names a training's method on a data set here, with the same seed; and which code that decides scores differs.

    `ConfigError` where no variant and profile here give its settings. `DataError` where its training saw other captions, region
    features or pictures than this data set has, or this is not prepared.
    """
    run = _named(params, record, data, source)
    here = inputs.training(params.model_copy(update={"runs": {**params.runs, record.name: run}}), record.name)
    theirs, ours = (_read_data(each) for each in (record.inputs, here))
    if any(value is None for split in ours["data"].values() for value in split.values()):
        raise DataError.at(f"data/{data}", "not prepared", "its shards", do=f"Run: dvc repro inputs@{data}")
    if other := list(inputs.differences(theirs, ours)):
        wanted = f"those of {data}, or its figures would be of another task"
        do = f"Name the data set that is the same as {record.data} there with --dataset, or prepare it here as it was there."
        raise DataError.at(source, f"trained on other data ({'; '.join(other)})", wanted, do=do)
    digests = code.of(*inputs.modules(record.settings))
    known = _part(record.inputs, "code")
    changed = inputs.differences({"code": {name: known.get(name) for name in digests}}, {"code": digests})
    return run, list(changed)


def write_run(params: Params, name: str, observer: Observer) -> Path:
    """Write the folder of run `name`, which was pulled: all that a training writes but history.json. Returns the folder.

    `DataError` where what was pulled is not there any more as it was. `ConfigError` where the run was not pulled.
    """
    run = params.run(name)
    if (given := run.checkpoint) is None or given.source is None:
        raise ConfigError(f"runs.{name} was not pulled from elsewhere")
    folder = Path(given.path)
    record = read_folder(folder, given.path)
    if sha256(folder / RUN) != given.sha256:
        do = f"Put the same folder back, or remove runs.{name} from params.yaml and pull it again."
        raise DataError.at(folder / RUN, "another run's", f"that of when runs.{name} was pulled", do=do)
    checkpoint = Checkpoint(
        path=given.source,
        sha256=given.sha256,
        epoch=record.best_epoch,
        best_rsum=record.dev_rsum,
        vocabulary="its own vocabulary",
    )
    # What says how it was trained elsewhere stays there: times, the device, the seed that counts rows of a leaderboard.
    missing = dict.fromkeys(("seed", "training", "train_seconds", "device", "precision", "micro_batch"))
    ours = {"name": name, "data": run.data, "method": run.method, "profile": run.changes, "origin": "imported"}
    written = record.model_copy(
        update={**missing, **ours, "checkpoint": checkpoint, "inputs": inputs.training(params, name)}
    )
    with untrained(written, observer) as temporary:
        for file in record.files:
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, temporary / file)
        write(temporary / RUN, written)
    return layout.run(run.data, name)


def in_words(changed: list[str]) -> str:
    """Some of the changes of code, for people."""
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return f"{'; '.join(changed[:_SHOWN])}{more}"


def _named(params: Params, record: Run, data: str, source: str) -> RunSettings:
    params.dataset(data)
    recipe = params.recipes.get(record.method)
    if recipe is None:
        raise ConfigError(
            f"{source}: trained by {record.method}, which has no recipe here; copy recipes/{record.method}.yaml"
        )
    near: list[str] = []
    found: list[RunSettings] = []
    for variant, profile in product((None, *recipe.variants), (None, *params.profiles)):
        run = RunSettings(data=data, method=record.method, variant=variant, profile=profile, seed=record.seed)
        try:
            settings = params.method_with(record.method, variant, profile)
        except ConfigError:  # a profile of other methods
            continue
        if settings == record.settings:
            found.append(run)
        elif run.changes == record.profile or not near:
            theirs, ours = ({"settings": each.model_dump(mode="json")} for each in (record.settings, settings))
            near = list(inputs.differences(theirs, ours))
    if not found:
        raise ConfigError(
            f"{source}: no variant or profile here gives the settings of its {record.method} ({record.profile}); "
            f"{'; '.join(near)}. Add a profile that says what there was"
        )
    return min(found, key=lambda run: run.changes != record.profile)


def _read_data(record: Inputs) -> dict[str, Any]:
    """What a training read of each split, as `differences` takes it."""
    data = _part(record, "data")
    return {"data": {split: _part(data, split) for split in ("train", "dev")}}


def _part(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}
