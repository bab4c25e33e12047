"""One training from configuration to finished folder: data opened, method built, loop run, results written."""

from __future__ import annotations

import shutil
from pathlib import Path

from itrcore import layout
from itrcore.assets import assets
from itrcore.assets.assets import Assets
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import feature_width, open_split
from itrcore.errors import ConfigError
from itrcore.files import digest, replacing
from itrcore.methods.build import build
from itrcore.methods.describe import describe
from itrcore.methods.objective import Objective
from itrcore.runs import inputs
from itrcore.runs.folder import HISTORY, RUN, write, write_curve
from itrcore.runs.observer import Observer
from itrcore.runs.records import History, Run, RunDescription
from itrcore.settings.params import Params
from itrcore.training.loop import Trained, Trainer
from itrcore.training.state import StateFolder, TrainingState

SELECTED_ON = "dev"


def train(params: Params, name: str, observer: Observer) -> Path:
    """Train run `name` of the configuration, from its unfinished state if there is one; returns its folder.

    Writes model.safetensors (the best by dev rsum), text/ (tokeniser), image/ (a grid's backbone), history.json and
    run.json. `ConfigError` where the run is an import. `DataError` where its data set or pretrained weights cannot be read.
    `TrainingError` where the training cannot go on, or another process trains the same run.
    """
    run, settings = params.run(name), params.method_of(name)
    if (seed := run.seed) is None:
        raise ConfigError(f"runs.{name} is imported from a checkpoint, and has no seed to train with")
    record = inputs.training(params, name)
    prepared = assets.prepare(settings.model, layout.vocabulary(run.data), layout.NLTK, feature_width(run.data))
    image, text = prepared.image, prepared.text
    method = build(settings, image, text.source, seed)
    description = describe(params, name, settings, prepared, method, record, SELECTED_ON)
    touched = settings.model.touched
    views = Views(settings.model.n_views, None if touched is None else (touched, text.tokeniser.token_ids))
    train_split, dev_split = (
        open_split(run.data, split, text.tokeniser, method.input, verify=True) for split in ("train", "dev")
    )
    trainer = Trainer(
        Objective.of(settings, method),
        settings,
        params.training,
        seed,
        TrainingBatches(train_split, settings.recipe.batch_size, seed, views),
        dev_split,
        params.evaluation.batch_size,
        params.evaluation.tile,
    )
    folder = StateFolder(layout.STATE / run.data / name)

    def begin(state: TrainingState) -> None:
        state.tracking_id = observer.begin(description, state.tracking_id)

    def after_evaluation(state: TrainingState) -> None:
        observer.evaluation(state.history[-1])

    # With digests of both sides: of a hub's weights the record has only the name.
    identity = digest([record, text.digest, image.digest])
    with folder.alone():
        try:
            trained = trainer.run(folder, identity, begin, after_evaluation)
            out = _write(layout.run(run.data, name), description, prepared, trained)
            observer.finish(out)
        except BaseException:
            observer.fail()
            raise
        folder.clear()
    return out


def _write(out: Path, description: RunDescription, prepared: Assets, trained: Trained) -> Path:
    run = Run(
        **dict(description),
        best_epoch=trained.best_epoch,
        dev_rsum=max(point.dev.rsum for point in trained.history),
        train_seconds=trained.seconds,
        device=trained.device,
        precision=trained.precision,
    )
    with replacing(out) as temporary:
        prepared.save(temporary)
        shutil.copyfile(trained.best_weights, temporary / layout.WEIGHTS)
        write(temporary / HISTORY, History(evaluations=tuple(trained.history), best_epoch=trained.best_epoch))
        write(temporary / RUN, run)
    write_curve(run.name, trained.history)
    return out
