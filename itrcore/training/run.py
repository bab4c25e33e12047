"""One training from configuration to finished folder: data opened, method built, loop run, results written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.config import Params
from itrcore.data.prepared import open_split
from itrcore.data.shards.regions import ShardInfo
from itrcore.data.vocabulary import Vocabulary
from itrcore.files import digest, replacing, sha256, write_json
from itrcore.models import registry
from itrcore.provenance import code_version, training_code_digest
from itrcore.training.loop import Trained, Trainer
from itrcore.training.observer import Observer
from itrcore.training.state import StateFolder, TrainingState


def train(params: Params, name: str, observer: Observer) -> Path:
    """Train run `name` of the configuration, from its unfinished state if there is one; returns its folder.

    Writes model.safetensors (best epoch by dev rsum), history.json and run.json.
    """
    run = params.run(name)
    settings = params.method_of(name)
    vocabulary = Vocabulary.load(layout.vocabulary(run.data), layout.NLTK)
    info = ShardInfo.read(layout.region_shards(run.data))
    method = registry.build(settings, info.width, len(vocabulary), run.seed)
    described: dict[str, Any] = {
        "name": name,
        **run.model_dump(),
        "settings": settings.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json"),
        "features": info.features,
        "data_digest": digest([info.digest, sha256(layout.captions(run.data)), sha256(layout.vocabulary(run.data))]),
        "width": info.width,
        "n_words": len(vocabulary),
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "selected_on": "dev",
    }
    trainer = Trainer(
        method,
        settings,
        params.training,
        run.seed,
        open_split(run.data, "train", vocabulary, verify=True),
        open_split(run.data, "dev", vocabulary, verify=True),
        params.evaluation.batch_size,
        params.evaluation.tile,
    )
    folder = StateFolder(layout.STATE / run.data / name)
    described["code_version"] = code_version()

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
            out = _write(layout.run(run.data, name), described, trained)
            observer.finish(out)
        except BaseException:
            observer.fail()
            raise
        folder.clear()
    return out


def _write(out: Path, described: dict[str, Any], trained: Trained) -> Path:
    ended = {
        "best_epoch": trained.best_epoch,
        "train_seconds": trained.seconds,
        "device": trained.device,
        "precision": trained.precision,
    }
    with replacing(out) as temporary:
        temporary.mkdir(parents=True)
        shutil.copyfile(trained.best_weights, temporary / "model.safetensors")
        write_json(temporary / "history.json", {"epochs": trained.history, "best_epoch": trained.best_epoch})
        write_json(temporary / "run.json", described | ended)
    return out
