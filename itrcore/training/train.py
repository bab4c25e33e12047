"""One training from configuration to finished folder: data opened, method built, loop run, results written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from itrcore import layout
from itrcore.announce import announced
from itrcore.assets import assets
from itrcore.assets.assets import Assets
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import feature_width, open_split
from itrcore.errors import ConfigError, DataError
from itrcore.files import replacing, sha256_of_all
from itrcore.layers import together
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.methods.describe import describe
from itrcore.methods.objective import Objective
from itrcore.runs import inputs
from itrcore.runs.folder import HISTORY, RUN, write, write_curve
from itrcore.runs.observer import Observer
from itrcore.runs.records import History, Run, RunDescription
from itrcore.settings.params import Params
from itrcore.terminal import say
from itrcore.training.frozen import with_states
from itrcore.training.loop import Trainer
from itrcore.training.renamed import finished_twin, identity_of, move_unfinished
from itrcore.training.state import Finished, StateFolder, TrainingState
from itrcore.training.transcript import transcribed

SELECTED_ON = "dev"


def train(params: Params, name: str, observer: Observer) -> Path:
    """Train run `name` of the configuration, from its unfinished state if there is one; returns its folder.

    A training that was finished, but whose results DVC has not recorded, is only written out again (`kept.py`). One that was
    done or begun under another name is taken over (`renamed.py`).
    All that it says is in `log.txt` of its state's folder too, and the observer is told so.
    Writes model.safetensors (the best by dev rsum), text/ (tokeniser), image/ (a grid's backbone), history.json and
    run.json. Where several processes train together, each calls this.
    `ConfigError` where the run is an import, or zero-shot. `DataError` where its data set or pretrained weights cannot be read.
    `TrainingError` where the training cannot go on, or another process trains the same run.
    """
    run = params.run(name)
    if (seed := run.seed) is None:
        raise ConfigError(f"runs.{name} is imported from a checkpoint or zero-shot, and has no seed to train with")
    folder = StateFolder(layout.STATE / run.data / name)
    if together.number():  # the first process decides whether there is something to train, evaluates and writes
        prepared, method = built(params, name, seed)
        if together.agreed(True):
            identity = identity_of(inputs.training(params, name), prepared.text.digest, prepared.image.digest)
            trainer_of(params, name, seed, method, prepared).run(
                folder, identity, lambda state: None, lambda state: None
            )
        return layout.run(run.data, name)
    with folder.alone():
        observer.said(folder.log)
        try:
            with transcribed(folder.log, f"train@{name}"):
                out = _trained(params, name, seed, folder, observer)
            observer.finish(out)
        except BaseException:
            observer.fail()
            raise
    return out


def built(params: Params, name: str, seed: int) -> tuple[Assets, Method[Any, Any]]:
    """What run `name` starts from, and its method. `DataError` where its data set or pretrained weights cannot be read."""
    run, settings = params.run(name), params.method_of(name)
    with announced("Building the method, from pretrained weights where it has any"):
        prepared = assets.prepare(
            settings.model, layout.vocabulary(run.data), layout.NLTK, feature_width(run.data), layout.concepts(run.data)
        )
        return prepared, build(settings, prepared.image, prepared.text.source, seed, prepared.concepts)


def _trained(params: Params, name: str, seed: int, folder: StateFolder, observer: Observer) -> Path:
    """In the first process: begin or go on or take over, and write the results."""
    run, record = params.run(name), inputs.training(params, name)
    prepared, method = built(params, name, seed)
    description = describe(params, name, params.method_of(name), prepared, method, record, SELECTED_ON)
    identity = identity_of(record, prepared.text.digest, prepared.image.digest)

    def begin(state: TrainingState) -> None:
        state.tracking_id = observer.begin(description, state.tracking_id)

    def after_evaluation(state: TrainingState) -> None:
        observer.evaluation(state.history[-1])

    if finished := folder.finished(identity):
        say(f"Done already, and written out again. To train anew, remove {folder.folder} first.")
        together.agreed(False)
        observer.begin(description, finished.tracking_id)
        weights = folder.weights(finished.best)
    elif twin := finished_twin(run.data, name, identity):
        say(f"Done already as {twin.folder}, and taken over. To train anew, remove that folder first.")
        description = description.model_copy(update={"code_version": twin.code_version or description.code_version})
        together.agreed(False)
        observer.begin(description, None)
        finished, weights = twin.finished, twin.weights
    else:
        move_unfinished(folder, identity, params.runs)
        together.agreed(True)
        finished = trainer_of(params, name, seed, method, prepared).run(folder, identity, begin, after_evaluation)
        assert finished is not None
        weights = folder.weights(finished.best)
    return _write(layout.run(run.data, name), description, prepared, finished, weights)


def trainer_of(params: Params, name: str, seed: int, method: Method[Any, Any], prepared: Assets) -> Trainer:
    """The trainer of run `name` on its data set, with the method that it trains."""
    run, settings, text = params.run(name), params.method_of(name), prepared.text
    touched = settings.model.touched
    views = Views(settings.model.n_views, None if touched is None else (touched, text.tokeniser.token_ids))
    train_split, dev_split = (
        with_states(
            open_split(run.data, split, text.tokeniser, method.input),
            method,
            text.digest,
            layout.hidden_states(run.data, split),
            params.training,
        )
        for split in ("train", "dev")
    )
    return Trainer(
        Objective.of(settings, method),
        settings,
        params.training,
        seed,
        TrainingBatches(train_split, settings.recipe.batch_size, seed, views),
        dev_split,
        params.evaluation.batch_size,
        params.evaluation.tile,
    )


def _write(out: Path, description: RunDescription, prepared: Assets, finished: Finished, weights: Path) -> Path:
    with replacing(out) as temporary:
        prepared.save(temporary)
        shutil.copyfile(weights, temporary / layout.WEIGHTS)
        files = sha256_of_all(temporary)
        if files[layout.WEIGHTS] != finished.best.sha256:  # changed since it was checked
            raise DataError.at(weights, "its bytes have changed", "them as they were trained", do="Run: dvc repro")
        run = Run(
            **dict(description),
            files=files,
            chosen=finished.best.chosen,
            best_epoch=finished.best.epoch,
            dev_rsum=finished.best.rsum,
            train_seconds=finished.seconds,
            device=finished.device,
            precision=finished.precision,
            micro_batch=finished.micro_batch,
        )
        write(temporary / HISTORY, History(evaluations=tuple(finished.history), best_epoch=finished.best.epoch))
        write(temporary / RUN, run)
    write_curve(run.name, finished.history)
    return out
