"""A sweep's trials as Optuna keeps them, in `sweeps/<name>/optuna.db`: shared by processes, and whole after any of them was killed.

A trial belongs to the process that holds the lock on its file. The system releases that when the process ends, in whatever way;
then another one takes the trial up where it is. So none is lost, and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from itrcore import layout
from itrcore.errors import ConfigError, DataError
from itrcore.files import remove
from itrcore.runs import inputs
from itrcore.runs.records import Inputs
from itrcore.runs.trials import Curve, End, State, Trained, Trial
from itrcore.settings.sweeps import Sweep, Values
from itrcore.sweeps import space
from itrcore.sweeps.record import name_of, record_of

_DB, _LOCK = "optuna.db", "optuna.lock"
_RECORD, _WHY, _SEED = "record", "why", "seed "  # attributes of a study and of its trials
_WAIT = 60.0  # seconds, for another process to write its few lines

_STATES: dict[TrialState, End] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Held:
    """A trial that this process trains, until `release`."""

    def __init__(self, trial: optuna.Trial, sweep: Sweep, lock: FileLock, folder: Path) -> None:
        """folder: for the states of its trainings"""
        self._trial, self._lock, self.folder = trial, lock, folder
        self.number = trial.number + 1
        self.values = space.suggested(trial, sweep)
        self.trained = _trained(trial.user_attrs)

    def goes_on(self, curve: Curve) -> bool:
        """Whether the pruner lets the trial go on. curve: of its first seed, all of it; known parts are not told twice"""
        known = self._trial.storage.get_trial(self._trial._trial_id).intermediate_values
        whole = [(int(epoch), rsum) for epoch, rsum in curve if epoch == int(epoch)]
        for epoch, rsum in whole:
            if epoch not in known:
                self._trial.report(rsum, epoch)
        return not (whole and self._trial.should_prune())

    def keep(self, seed: int, trained: Trained) -> None:
        """A training is done."""
        self.trained[seed] = trained
        self._trial.set_user_attr(f"{_SEED}{seed}", vars(trained))

    def end(self, state: End, why: str | None = None) -> None:
        """Record how it ended. A finished one counts by the mean of its trainings."""
        if why is not None:
            self._trial.set_user_attr(_WHY, why)
        states = {name: optunas for optunas, name in _STATES.items()}
        rsums = [trained.rsum for trained in self.trained.values()]
        rsum = sum(rsums) / len(rsums) if state == "finished" else None
        self._trial.study.tell(self._trial.number, rsum, state=states[state])

    def release(self) -> None:
        """Another process may have it; where it has not ended, it goes on with it."""
        self._lock.release()


class Study:
    """The trials of a sweep that were made with the same code, settings and data."""

    def __init__(self, sweep: Sweep, study: optuna.Study, ours: bool) -> None:
        """ours: whether that is what they are made with now"""
        self.sweep, self._study, self.ours = sweep, study, ours
        self.folder = layout.sweep(sweep.name) / study.study_name
        self._alone = FileLock(layout.sweep(sweep.name) / _LOCK, timeout=_WAIT)

    @property
    def name(self) -> str:
        """A digest of the code, settings and data."""
        return str(self._study.study_name)

    def plan(self, trials: Sequence[Values] | None) -> None:
        """Add those that it does not have yet. None: they are chosen one by one, when it is their turn"""
        with self._alone:
            for values in (trials or [])[len(self._study.get_trials(deepcopy=False)) :]:
                self._study.enqueue_trial(space.stored(values, self.sweep))

    def take(self, wanted: int) -> Held | None:
        """A trial to train: one that nobody goes on with, else a new one; None where there is none. wanted: trials in all"""
        with self._alone:
            trials = self._study.get_trials(deepcopy=False)
            for left in trials:
                if left.state == TrialState.RUNNING and (lock := self._free(left.number + 1)) is not None:
                    return self._held(optuna.Trial(self._study, left._trial_id), lock)
            waiting = any(trial.state == TrialState.WAITING and trial.number < wanted for trial in trials)
            if not waiting and (len(trials) >= wanted or self.sweep.settings.sampler != "tpe"):
                return None
            self._study.sampler = space.sampler(self.sweep, len(trials))
            trial = self._study.ask()
            lock = self._free(trial.number + 1)
            assert lock is not None  # nobody else knows it
            return self._held(trial, lock)

    def trials(self) -> list[Trial]:
        """All of them, by their numbers."""
        with self._alone:  # as it looks whether their locks are free
            return [self._known(trial) for trial in self._study.get_trials(deepcopy=False)]

    def best(self) -> Trial | None:
        """The finished one with the highest rsum; None where none has finished."""
        finished = [trial for trial in self.trials() if trial.rsum is not None]
        return max(finished, key=lambda trial: (trial.rsum, -trial.number), default=None)

    def clear(self) -> None:
        """Remove the states of trainings that nobody needs: of trials that have ended, but not of the best one."""
        with self._alone:
            best = self.best()
            for trial in self.trials():
                if trial.ended and (best is None or trial.number != best.number):
                    for seed in self.sweep.settings.seeds:
                        remove(state(self.folder, trial.number, seed))

    def _held(self, trial: optuna.Trial, lock: FileLock) -> Held:
        return Held(trial, self.sweep, lock, self.folder)

    def _free(self, number: int) -> FileLock | None:
        """The lock of a trial, held now; None where another process or thread holds it."""
        lock = FileLock(self.folder / f"{number}.lock")
        with suppress(Timeout):
            lock.acquire(timeout=0)
            return lock
        return None

    def _known(self, trial: FrozenTrial) -> Trial:
        now: State = "waiting" if trial.state == TrialState.WAITING else _STATES.get(trial.state, "going on")
        if now == "going on" and (lock := self._free(trial.number + 1)) is not None:
            lock.release()
            now = "stopped"
        curve: Curve = sorted(trial.intermediate_values.items())
        kept = trial.params or trial.system_attrs.get("fixed_params", {})
        return Trial(
            trial.number + 1,
            space.restored(kept, self.sweep),
            now,
            trial.value if now == "finished" else None,
            trial.last_step if now == "pruned" else None,
            trial.user_attrs.get(_WHY),
            _trained(trial.user_attrs),
            curve,
        )


def open_study(sweep: Sweep, record: Inputs, anew: bool = False) -> Study:
    """The study of what decides the trials now (`record`), made where there is none.

    `ConfigError` where there are trials of other code, settings or data only, unless `anew`: they stay beside the new ones.
    """
    folder, name = layout.sweep(sweep.name), name_of(record)
    (folder / name).mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK, timeout=_WAIT):
        storage, known = _storage(folder)
        if name not in known:
            if known and not anew:
                (folder / name).rmdir()
                changed = "; ".join(inputs.differences(list(known.values())[-1], record))
                raise ConfigError(
                    f"{folder}: its trials are of other code, settings or data, and are not mixed with new ones ({changed}). "
                    f"Take that back, or run: itr sweep {sweep.name} --anew, which begins again and keeps the old ones beside"
                )
            optuna.create_study(study_name=name, direction="maximize", storage=storage).set_user_attr(_RECORD, record)
        return Study(sweep, optuna.load_study(study_name=name, storage=storage, pruner=space.pruner(sweep)), True)


def find_study(sweep: Sweep) -> Study | None:
    """The study of what decides the trials now, else the newest one; None where there is none. It is only looked at."""
    folder = layout.sweep(sweep.name)
    if not (folder / _DB).exists():
        return None
    with FileLock(folder / _LOCK, timeout=_WAIT):
        storage, known = _storage(folder)
    if not known:
        return None
    name = list(known)[-1]
    with suppress(DataError):  # of a data set that is not prepared any more
        now = name_of(record_of(sweep))
        name = now if now in known else name
        return Study(sweep, optuna.load_study(study_name=name, storage=storage), name == now)
    return Study(sweep, optuna.load_study(study_name=name, storage=storage), False)


def _storage(folder: Path) -> tuple[optuna.storages.RDBStorage, dict[str, Inputs]]:
    """The file, and what decides the trials of each study in it, the newest last. Hold the lock: two cannot make it at once."""
    options = {"connect_args": {"timeout": _WAIT}}
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / _DB}", engine_kwargs=options)
    studies = sorted(storage.get_all_studies(), key=lambda study: study._study_id)
    return storage, {study.study_name: study.user_attrs.get(_RECORD, {}) for study in studies}


def state(folder: Path, number: int, seed: int) -> Path:
    """The state of a training of a trial."""
    return folder / f"{number}-{seed}"


def _trained(attributes: Mapping[str, Any]) -> dict[int, Trained]:
    return {
        int(key.removeprefix(_SEED)): Trained.of(value) for key, value in attributes.items() if key.startswith(_SEED)
    }
