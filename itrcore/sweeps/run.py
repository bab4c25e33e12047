"""Running a sweep: trials one after another, or several at once, each training in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from itrcore.runs.trials import Curve
from itrcore.settings.sweeps import Sweep, Values
from itrcore.sweeps.process import Failed, Processes, Pruned, Stopped, Task
from itrcore.sweeps.study import Held, Study, state
from itrcore.terminal import say
from itrcore.tracking.sweep_log import SweepLog

_LOOK_SECONDS = 0.2  # between two looks whether all is done


class Runner:
    """Trains the trials of a study that are left, in this process's share of them."""

    def __init__(self, sweep: Sweep, study: Study, wanted: int, log: SweepLog) -> None:
        """wanted: trials in all; log: told of each"""
        self._sweep, self._study, self._wanted, self._log = sweep, study, wanted, log
        self._processes = Processes()
        self._stop = threading.Event()
        self._errors: list[Exception] = []

    def run(self, jobs: int, gpus: Sequence[str]) -> None:
        """Return when no trial is left to take.

        jobs: trainings at once; gpus: spread over these, each sees one
        `ITRError` for what would fail every trial, such as a full disk. Whatever ends this ends the trainings; they go on from
        their states when the sweep is run again.
        """
        threads = [
            threading.Thread(target=self._work, args=(gpus[number % len(gpus)] if gpus else None,))
            for number in range(jobs)
        ]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(_LOOK_SECONDS)
        finally:
            self._stop.set()
            self._processes.stop()
            for thread in threads:
                thread.join()
        for error in self._errors:
            raise error

    def _work(self, gpu: str | None) -> None:
        try:
            while not self._stop.is_set() and (held := self._study.take(self._wanted)) is not None:
                try:
                    self._train(held, gpu)
                finally:
                    held.release()
                self._study.clear()
        except Stopped:
            pass
        except Exception as error:
            self._errors.append(error)
            self._stop.set()
            self._processes.stop()

    def _train(self, held: Held, gpu: str | None) -> None:
        """All trainings of a trial."""
        name = f"trial {held.number} of {self._wanted}"
        say(f"{name}: {in_words(held.values)}")
        self._note(held)
        seeds = self._sweep.settings.seeds
        try:
            for seed in seeds:
                if seed in held.trained:
                    continue
                said = f"{name}, seed {seed}" if len(seeds) > 1 else name
                task = Task(
                    self._sweep.name,
                    self._study.name,
                    f"{self._sweep.name}-{held.number}",
                    dict(held.values),
                    seed,
                    str(state(held.folder, held.number, seed)),
                )
                log = held.folder / f"{held.number}-{seed}.log"
                trained = self._processes.train(task, log, gpu, partial(self._goes_on, held, seed, said))
                held.keep(seed, trained)
            held.end("finished")
            rsums = [trained.rsum for trained in held.trained.values()]
            say(f"{name}: finished, dev rsum {sum(rsums) / len(rsums):.1f}")
        except Pruned:
            held.end("pruned")
            say(f"{name}: ended, as trials like it were better at the same epoch")
        except Failed as error:
            held.end("failed", str(error))
            say(f"{name}: failed: {error}")
        self._note(held)

    def _goes_on(self, held: Held, seed: int, said: str, curve: Curve) -> bool:
        epoch, rsum = curve[-1]
        say(f"{said}: epoch {epoch:g}, dev rsum {rsum:.1f}")
        if seed != self._sweep.settings.seeds[0]:
            return True  # the first seed's curve has been judged
        goes_on = held.goes_on(curve)
        self._note(held)
        return goes_on

    def _note(self, held: Held) -> None:
        self._log.note(self._study.trials()[held.number - 1], self._study.best())


def run(sweep: Sweep, study: Study, trials: Sequence[Values] | None, jobs: int, gpus: Sequence[str]) -> None:
    """Make the trials of a study that are left, and MLflow hold them. trials: as `space.planned` gives them. As `Runner.run`"""
    study.plan(trials)
    wanted = sweep.settings.trials or len(trials or ())
    log = SweepLog(sweep.params, sweep.name, sweep.data, study.name, sweep.settings.seeds, _told(sweep))
    known = study.trials()
    for trial in known:
        if trial.state != "waiting":
            log.note(trial, study.best())
    done = sum(trial.ended for trial in known)
    say(f"Sweep {sweep.name}: {wanted} trials, {done} of them done. What trainings print: {study.folder}/*.log")
    try:
        Runner(sweep, study, wanted, log).run(jobs, gpus)
    finally:
        trials_now = study.trials()
        for trial in trials_now:
            if trial.state == "stopped":
                log.note(trial, study.best())
        if all(trial.state != "going on" for trial in trials_now):  # else another process has the last word
            log.end(sum(trial.ended for trial in trials_now) < wanted, study.best())


def in_words(values: Values) -> str:
    """A trial's values in a line: `learning_rate 0.00052, batch_size 32`."""
    return ", ".join(f"{path.rpartition('.')[2]} {shown(value)}" for path, value in values.items())


def shown(value: object) -> str:
    """A value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _told(sweep: Sweep) -> dict[str, object]:
    """What MLflow has of the sweep itself."""
    settings = sweep.settings.model_dump(mode="json")
    search = {f"search.{path}": value for path, value in settings.pop("search").items()}
    return {"data": sweep.data, **settings, **search}
