"""One training from configuration to finished folder: data opened, method built, loop run, results written."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.assets import assets
from itrcore.assets.assets import Assets
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import feature_width, features_of, open_split
from itrcore.files import digest, replacing, write_json
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.methods.objective import Objective
from itrcore.provenance import code_version
from itrcore.runs import inputs
from itrcore.runs.digests import captions_of
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params
from itrcore.training.loop import Trained, Trainer
from itrcore.training.observer import Observer
from itrcore.training.state import StateFolder, TrainingState


def train(params: Params, name: str, observer: Observer) -> Path:
    """Train run `name` of the configuration, from its unfinished state if there is one; returns its folder.

    Writes model.safetensors (the best by dev rsum), text/ (tokeniser), image/ (a grid's backbone), history.json and
    run.json.
    """
    run = params.run(name)
    settings = params.method_of(name)
    record = inputs.training(params, name)
    prepared = assets.prepare(settings.model, layout.vocabulary(run.data), layout.NLTK, feature_width(run.data))
    image, text = prepared.image, prepared.text
    assert run.seed is not None
    method = build(settings, image, text.source, run.seed)
    described = {
        **describe(params, name, settings, image.width, method, record),
        "origin": "trained",
        "training": params.training.model_dump(mode="json"),
        "text_digest": text.digest,
        "image_digest": image.digest,
        "selected_on": "dev",
    }
    touched = settings.model.touched
    views = Views(settings.model.n_views, None if touched is None else (touched, text.tokeniser.token_ids))
    train_split = open_split(run.data, "train", text.tokeniser, method.input, verify=True)
    trainer = Trainer(
        Objective.of(settings, method),
        settings,
        params.training,
        run.seed,
        TrainingBatches(train_split, settings.recipe.batch_size, run.seed, views),
        open_split(run.data, "dev", text.tokeniser, method.input, verify=True),
        params.evaluation.batch_size,
        params.evaluation.tile,
    )
    folder = StateFolder(layout.STATE / run.data / name)

    def begin(state: TrainingState) -> None:
        state.tracking_id = observer.begin(described, state.tracking_id)

    def after_evaluation(state: TrainingState) -> None:
        observer.evaluation(state.history[-1])

    # Weights of a hub are known by their digests only now.
    identity = digest([record, text.digest, image.digest])
    with folder.alone():
        try:
            trained = trainer.run(folder, identity, begin, after_evaluation)
            out = _write(layout.run(run.data, name), described, prepared, trained)
            observer.finish(out)
        except BaseException:
            observer.fail()
            raise
        folder.clear()
    return out


def describe(
    params: Params,
    name: str,
    settings: MethodSettings,
    width: int | None,
    method: Method[Any, Any],
    record: inputs.Record,
) -> dict[str, Any]:
    """What run.json says of any run, trained or imported.

    width: of the region features that it reads; record: what decides its weights
    """
    run = params.run(name)
    return {
        "name": name,
        **run.model_dump(include={"data", "method", "seed"}),
        "profile": run.changes,
        "family": settings.family,
        "settings": settings.model_dump(mode="json"),
        "features": features_of(run.data, settings.model.reads_pixels, params.dataset(run.data).drawn),
        "data_digest": digest([captions_of(layout.captions(run.data), split) for split in ("train", "dev")]),
        "width": width,
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "code_version": code_version(),
        "inputs": record,
    }


def _write(out: Path, described: dict[str, Any], prepared: Assets, trained: Trained) -> Path:
    ended = {
        "best_epoch": trained.best_epoch,
        "dev_rsum": max(record["dev"]["rsum"] for record in trained.history),
        "train_seconds": trained.seconds,
        "device": trained.device,
        "precision": trained.precision,
    }
    with replacing(out) as temporary:
        prepared.save(temporary)
        shutil.copyfile(trained.best_weights, temporary / layout.WEIGHTS)
        write_json(temporary / "history.json", {"evaluations": trained.history, "best_epoch": trained.best_epoch})
        write_json(temporary / "run.json", described | ended)
    write_curve(described["name"], trained.history)
    return out


def write_curve(name: str, history: Sequence[Mapping[str, Any]]) -> None:
    """The evaluations of a training as a table for DVC's plots; of an imported run its heading alone."""
    with replacing(layout.curve(name)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("epoch", "dev/rsum", "dev/i2t_r1", "dev/t2i_r1", "loss", "learning_rate"))
        for record in history:
            dev = (record["dev"][key] for key in ("rsum", "i2t_r1", "t2i_r1"))
            table.writerow((record["epoch"], *dev, record["losses"]["total"], record["learning_rate"]))
