"""A sweep in MLflow: one run for all of it, and a child of that for each trial, in an MLflow experiment apart from the runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from itrcore.runs.trials import Curve, Trial
from itrcore.settings.params import Params
from itrcore.tracking.run_log import RunLog
from itrcore.tracking.tracker import Tracker

# Tags: the sweep, with a digest of its code, settings and data; a trial's number; what became of it.
_SWEEP, _TRIAL, _STATE = "itr.sweep", "itr.sweep_trial", "state"
_ENDS = {"finished": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "stopped": "KILLED"}  # in MLflow's words
_MOST = 50_000  # runs that MLflow gives at once
_LONGEST = 500  # characters of a tag; MLflow takes more


@dataclass
class _Child:
    """A trial's run, and what it holds: its state, and (metric, step) of what is logged."""

    run_id: str
    state: str | None = None
    held: set[tuple[str, int]] = field(default_factory=set)


class SweepLog:
    """Makes MLflow hold what the study holds, as often as it is told; several processes may do so for one sweep.

    Where MLflow fails, one warning says so, and the sweep goes on.
    """

    def __init__(
        self, params: Params, name: str, data: str, study: str, seeds: list[int], told: Mapping[str, object]
    ) -> None:
        """study: a digest of code, settings and data; told: parameters of the sweep's own run"""
        self._tracker = Tracker.of(params, again=f"itr sweep {name}")
        self._name, self._data, self._sweep = name, data, f"{name} {study}"
        self._seeds, self._told = seeds, told
        self._guard = threading.Lock()
        self._client: Any = None
        self._experiment = self._parent = ""
        self._children: dict[int, _Child] = {}

    def note(self, trial: Trial, best: Trial | None) -> None:
        """A trial has begun, was evaluated, or has ended; best: of those that have finished"""
        with self._guard:
            self._tracker.attempt(lambda: self._note(trial, best))

    def end(self, stopped: bool, best: Trial | None) -> None:
        """All trials have ended; or the sweep was stopped, and may go on later."""

        def end() -> None:
            self._open()
            self._client.set_tag(self._parent, _STATE, "stopped" if stopped else "finished")
            self._crown(best, len(self._children))
            self._client.set_terminated(self._parent, _ENDS["stopped" if stopped else "finished"])

        with self._guard:
            self._tracker.attempt(end)

    def _note(self, trial: Trial, best: Trial | None) -> None:
        self._open()
        child = self._children.get(trial.number)
        if child is None:
            tags = {_TRIAL: str(trial.number), "mlflow.parentRunId": self._parent}
            child = self._children[trial.number] = _Child(self._create(f"{self._name} {trial.number}", tags))
            RunLog(self._client, child.run_id).params(trial.values)
        if child.state in ("finished", "pruned", "failed"):
            return
        curves: dict[int, Curve] = {self._seeds[0]: trial.curve}
        curves |= {seed: trained.curve for seed, trained in trial.trained.items()}
        for seed, curve in curves.items():
            for epoch, rsum in curve:
                if epoch == int(epoch) and (point := (f"dev/rsum/seed_{seed}", int(epoch))) not in child.held:
                    RunLog(self._client, child.run_id).metrics({point[0]: rsum}, point[1])
                    child.held.add(point)
        if trial.rsum is not None:
            RunLog(self._client, child.run_id).metrics({"dev/rsum": trial.rsum})
        if trial.state != child.state:
            self._client.set_tag(child.run_id, _STATE, trial.state)
            if trial.why is not None:
                self._client.set_tag(child.run_id, "why", trial.why[:_LONGEST])
            if trial.state in _ENDS:
                self._client.set_terminated(child.run_id, _ENDS[trial.state])
                self._crown(best, trial.number)
            else:
                self._client.update_run(child.run_id, status="RUNNING")
            child.state = trial.state

    def _crown(self, best: Trial | None, step: int) -> None:
        if best is not None and best.rsum is not None:
            RunLog(self._client, self._parent).metrics({"dev/rsum": best.rsum}, step)
            told = {"best.trial": best.number, **{f"best.{path}": value for path, value in best.values.items()}}
            for key, value in told.items():
                self._client.set_tag(self._parent, key, str(value))

    def _open(self) -> None:
        """Find the sweep's runs, and make its own where there is none."""
        if self._client is not None:
            return
        client, self._experiment, lock = self._tracker.sweeps(self._data)
        with lock:
            wanted = f"tags.`{_SWEEP}` = '{self._sweep}'"
            for run in client.search_runs([self._experiment], wanted, max_results=_MOST):
                if _TRIAL not in run.data.tags:
                    self._parent = run.info.run_id
                    continue
                held = {
                    (key, metric.step)
                    for key in run.data.metrics
                    for metric in client.get_metric_history(run.info.run_id, key)
                }
                number = int(run.data.tags[_TRIAL])
                self._children[number] = _Child(run.info.run_id, run.data.tags.get(_STATE), held)
            self._client = client
            if not self._parent:
                self._parent = self._create(self._name, {"kind": "sweep"})
                RunLog(client, self._parent).params(self._told)
        client.set_tag(self._parent, _STATE, "going on")
        client.update_run(self._parent, status="RUNNING")

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        created = self._client.create_run(self._experiment, run_name=name, tags={_SWEEP: self._sweep, **tags})
        return str(created.info.run_id)
