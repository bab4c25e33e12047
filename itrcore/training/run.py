"""One training from configuration to finished folder: data opened, method built, loop run, results written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.config import Params
from itrcore.data.prepared import open_split, state_digest
from itrcore.data.shards.regions import ShardInfo
from itrcore.files import digest, replacing, write_json
from itrcore.models import registry
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings
from itrcore.models.text import Text, prepare
from itrcore.provenance import code_version, training_code_digest
from itrcore.training.loop import Trained, Trainer
from itrcore.training.observer import Observer
from itrcore.training.state import StateFolder, TrainingState


def train(params: Params, name: str, observer: Observer) -> Path:
    """Train run `name` of the configuration, from its unfinished state if there is one; returns its folder.

    Writes model.safetensors (best epoch by dev rsum), text/ (tokeniser), history.json and run.json.
    """
    run = params.run(name)
    settings = params.method_of(name)
    text = prepare(settings.model.text, layout.vocabulary(run.data), layout.NLTK)
    info = ShardInfo.read(layout.region_shards(run.data))
    assert run.seed is not None
    method = registry.build(settings, info.width, text.inputs, run.seed)
    described = {
        **describe(params, name, settings, info, method),
        "origin": "trained",
        "training": params.training.model_dump(mode="json"),
        "text_digest": text.digest,
        "selected_on": "dev",
    }
    trainer = Trainer(
        method,
        settings,
        params.training,
        run.seed,
        open_split(run.data, "train", text.tokeniser, verify=True),
        open_split(run.data, "dev", text.tokeniser, verify=True),
        params.evaluation.batch_size,
        params.evaluation.tile,
    )
    folder = StateFolder(layout.STATE / run.data / name)

    def begin(state: TrainingState) -> None:
        state.tracking_id = observer.begin(described, state.tracking_id)

    def after_epoch(state: TrainingState) -> None:
        observer.epoch(state.history[-1])

    identity = digest(
        [{key: value for key, value in described.items() if key != "code_version"}, training_code_digest()]
    )
    with folder.alone():
        try:
            trained = trainer.run(folder, identity, begin, after_epoch)
            out = _write(layout.run(run.data, name), described, text, trained)
            observer.finish(out)
        except BaseException:
            observer.fail()
            raise
        folder.clear()
    return out


def describe(params: Params, name: str, settings: MethodSettings, info: ShardInfo, method: Method) -> dict[str, Any]:
    """What run.json says of any run, trained or imported."""
    run = params.run(name)
    return {
        "name": name,
        **run.model_dump(include={"data", "method", "profile", "seed"}),
        "family": settings.family,
        "settings": settings.model_dump(mode="json"),
        "features": info.features,
        "data_digest": state_digest(run.data),
        "width": info.width,
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "code_version": code_version(),
    }


def _write(out: Path, described: dict[str, Any], text: Text, trained: Trained) -> Path:
    ended = {
        "best_epoch": trained.best_epoch,
        "train_seconds": trained.seconds,
        "device": trained.device,
        "precision": trained.precision,
    }
    with replacing(out) as temporary:
        (temporary / layout.TEXT).mkdir(parents=True)
        shutil.copyfile(trained.best_weights, temporary / layout.WEIGHTS)
        text.save(temporary / layout.TEXT)
        write_json(temporary / "history.json", {"epochs": trained.history, "best_epoch": trained.best_epoch})
        write_json(temporary / "run.json", described | ended)
    return out
