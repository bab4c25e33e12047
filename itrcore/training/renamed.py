"""A run under a new name is the same training if all that decides its weights is the same: taken over, not done again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from itrcore import intact, layout
from itrcore.errors import DataError, TrainingError
from itrcore.files import digest
from itrcore.runs.folder import HISTORY, RUN, read
from itrcore.runs.records import History, Inputs, Run
from itrcore.terminal import say
from itrcore.training.state import Best, Finished, StateFolder


def identity_of(inputs: Inputs, text_digest: str, image_digest: str | None) -> str:
    """What two trainings that end in the same weights have in common. The digests are of a run's text and image sides."""
    return digest([inputs, text_digest, image_digest])  # of a hub's weights the inputs have only the name


@dataclass(frozen=True)
class Twin:
    """A finished training of another name: where it lies, its weights' file, the code that made them if that is recorded."""

    folder: Path
    finished: Finished
    weights: Path
    code_version: str | None = None


def finished_twin(data: str, name: str, identity: str) -> Twin | None:
    """A finished, undamaged training of this identity on the same data set, whose name is not `name`; None where there is none."""
    for folder in _others(layout.run(data, name)):
        if (twin := _of_run(folder, identity)) is not None:
            return twin
    for folder in _others(layout.STATE / data / name):
        state = StateFolder(folder)
        if (finished := state.finished(identity)) is not None:
            return Twin(folder, finished, state.weights(finished.best))
    return None


def _of_run(folder: Path, identity: str) -> Twin | None:
    stage = f"train@{folder.name}"
    try:
        run = read(folder / RUN, Run, stage)
        if run.origin != "trained" or identity_of(run.inputs, run.text_digest, run.image_digest) != identity:
            return None
    except DataError:  # being written, damaged, or of an older form: what it is nobody knows
        return None
    try:
        intact.check(folder, run.files)
        history = read(folder / HISTORY, History, stage)
    except DataError as error:
        say(f"{folder} is the same training under another name, but not taken over: {error}")
        return None
    assert run.best_epoch is not None and run.dev_rsum is not None  # which only imports lack
    assert run.train_seconds is not None and run.device is not None and run.precision is not None
    finished = Finished(
        identity=identity,
        history=list(history.evaluations),
        best=Best(
            epoch=run.best_epoch,
            rsum=run.dev_rsum,
            chosen=run.chosen,
            file=layout.WEIGHTS,
            sha256=run.files[layout.WEIGHTS],
        ),
        seconds=run.train_seconds,
        tracking_id=None,
        device=run.device,
        precision=run.precision,
        micro_batch=run.micro_batch,
    )
    return Twin(folder, finished, folder / layout.WEIGHTS, run.code_version)


def move_unfinished(state: StateFolder, identity: str, names: Collection[str]) -> None:
    """Give `state` the unfinished training of this identity whose run is no longer in params.yaml, unless it has its own.

    names: of the runs in params.yaml; what still has one of these will go on by itself. One that a process trains now is left.
    """
    if state.unfinished() == identity:
        return
    for folder in _others(state.folder):
        old = StateFolder(folder)
        if folder.name in names or old.unfinished() != identity:
            continue
        try:
            with old.alone():
                if old.unfinished() == identity:
                    state.clear()
                    old.folder.rename(state.folder)
                    say(f"{folder} is the same training under its old name: going on with it.")
                    return
        except TrainingError:
            continue


def _others(folder: Path) -> Iterator[Path]:
    if folder.parent.is_dir():
        yield from sorted(other for other in folder.parent.iterdir() if other != folder and other.is_dir())
