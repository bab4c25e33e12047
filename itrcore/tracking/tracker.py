"""The tracker: MLflow's store, one run per training and ensemble. The current ones hold what the result folders hold.

The store is SQLite (`mlflow.db`, files in `mlartifacts/`) unless MLFLOW_TRACKING_URI names another, such as a server.
MLflow is never the source of a result: a run can always be rebuilt from `runs/` and `results/` (`itr track`), for instance
where DVC restored a training from its cache, or on a machine that did not do the training. So a failing MLflow never fails a
stage: one warning says so, and `itr track` makes up for it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from itrcore import intact
from itrcore.errors import ITRError, first_line
from itrcore.files import digest, sha256
from itrcore.runs.examples import Explained, Retrieved
from itrcore.runs.folder import EXPLAINED, HISTORY, METRICS, RANKS, RETRIEVED, RUN, read
from itrcore.runs.records import Evaluation, History, Point, Run, RunDescription
from itrcore.settings.params import Params
from itrcore.terminal import warn
from itrcore.tracking import registry
from itrcore.tracking.named_runs import NAME, NamedRuns, unmark
from itrcore.tracking.registry import Models
from itrcore.tracking.run_log import RunLog, flatten, is_evaluated
from itrcore.tracking.sqlite_store import SQLiteStore

_SAMPLE_SECONDS = 2  # between samples of CPU, memory and GPU use: a run of the demo takes only a few times as long
# Of a request to a server, 2, 4 and 8 seconds apart; MLflow's own 7 would hold up a training for minutes.
_RETRIES = "3"


class TrackingError(ITRError):
    """MLflow cannot be used."""


class Tracker:
    """One project's MLflow store; an experiment of MLflow's for each data set of each experiment of ours."""

    def __init__(
        self, root: Path = Path("."), experiment: str = "", trial: str | None = None, again: str = "itr track"
    ) -> None:
        """Nothing is opened before the first use.

        root: where the SQLite store lies or is made, one for all experiments
        experiment: its folder in `experiments/`; empty for the embedded one
        trial: the name of a `dvc exp` that runs in a copy of the experiment's folder: its runs replace none of the experiment's
        again: the command that makes up for a failing MLflow
        """
        self._again = again
        self._prefix, self._trial = experiment and f"{experiment}/", trial
        self._named = os.environ.get("MLFLOW_TRACKING_URI")
        own = SQLiteStore(root.absolute() / "mlflow.db")
        self._sqlite = SQLiteStore.of(self._named) if self._named else own
        self._project = digest(str(root.absolute())) if self._named else None  # another store may be used by others too
        self._uri = self._named or own.address
        self._failed = False

    @classmethod
    def of(cls, params: Params, again: str = "itr track") -> Tracker:
        """The tracker of an experiment."""
        return cls(params.project, params.experiment, params.trial, again)

    def record(self, run_folder: Path, results: Path) -> bool:
        """Make the MLflow run of a training hold exactly what these two folders hold, and the current one of its name.

        In a trial, a training that the experiment did before is left as it is. An evaluation of an earlier training is left out.
        False where MLflow failed. `DataError` where a file of them is damaged.
        """
        intact.check(run_folder, _read_run(run_folder).files)
        _check_results(results)
        evaluated = is_evaluated(run_folder, results)

        def record() -> None:
            with self._alone():
                log = self._record(run_folder)
                if log is not None and evaluated:
                    log.evaluation(results)

        return self.attempt(record)

    def record_ensemble(self, folder: Path) -> bool:
        """An ensemble's run: its members, metrics and files. Of other scores it is another run, as with a training.

        In a trial, an ensemble that the experiment had before is left as it is. False where MLflow failed. `DataError` as for
        `record`.
        """
        _check_results(folder)

        def record() -> None:
            with self._alone():
                found = read(folder / METRICS, Evaluation, f"ensemble@{folder.name}")
                mixing = found.mixing and found.mixing.model_dump(mode="json")
                tags = {"kind": "ensemble", "selected_on": found.selected_on, "family": str(found.family)}
                self._record_judged(found, folder, digest([found.members, mixing, found.files[RANKS]]), tags)

        return self.attempt(record)

    def record_transfer(self, folder: Path) -> bool:
        """A transfer's run, with the tag `trained_on`: its metrics and files. Of other scores it is another run.

        As with an ensemble, also where MLflow failed or a file is damaged.
        """
        _check_results(folder)

        def record() -> None:
            with self._alone():
                found = read(folder / METRICS, Evaluation, f"transfer_judge@{folder.name}")
                tags = {key: str(getattr(found, key)) for key in ("trained_on", "profile", "selected_on", "family")}
                result = digest([found.trained_on, found.weights_of, found.files])
                self._record_judged(found, folder, result, {"kind": "transfer", **tags})

        return self.attempt(record)

    def attach_report(self, data: str, name: str, files: Mapping[Path, str]) -> bool:
        """Put files (path → folder inside `report/`) of the report into the artifacts of the current run of a name.

        False where MLflow failed.
        """

        def attach() -> None:
            run = self._runs(data, name).current()
            if run is not None:
                for path, inside in files.items():
                    self._client.log_artifact(run.info.run_id, str(path), f"report/{inside}".rstrip("/"))

        return self.attempt(attach)

    def attach_log(self, data: str, name: str, log: Path) -> bool:
        """Make the current run of a name hold the file of all that its training said. False where MLflow failed."""

        def attach() -> None:
            run = self._runs(data, name).current()
            if run is not None:
                RunLog(self._client, run.info.run_id).said(log)

        return self.attempt(attach)

    def models(self, data: str) -> Models | None:
        """What is registered of a data set's runs; None where MLflow failed or nothing was ever recorded."""
        found = list[Models]()

        def look() -> None:
            if not self._sqlite or self._sqlite.path.exists():
                found.append(registry.models(self._client, registry.model_name(self._prefix, data)))

        return found[0] if self.attempt(look) and found else None

    def register(self, data: str, name: str, folder: Path, result: str) -> bool:
        """Register the model in `folder` as of the current run of a name, as the champion of its data set.

        result: digest of what the run comes from. False where MLflow failed
        """

        def register() -> None:
            with self._alone():
                run = self._runs(data, name).current()
                if run is None:
                    raise RuntimeError(f"{name} has no current run")
                called = registry.model_name(self._prefix, data)
                version = registry.add(self._client, called, run.info.run_id, folder, result, {NAME: name})
                self._client.set_registered_model_alias(called, registry.CHAMPION, version)

        return self.attempt(register)

    def crown(self, data: str, version: str) -> bool:
        """Make a version of a data set's registered model its champion. False where MLflow failed."""
        called = registry.model_name(self._prefix, data)
        return self.attempt(lambda: self._client.set_registered_model_alias(called, registry.CHAMPION, version))

    def unmark_others(self, names: Collection[tuple[str, str]]) -> bool:
        """Mark runs of other names than these as no longer current; not in a trial. False where MLflow failed.

        names: (data set, name) of all runs and ensembles of the experiment
        """

        def others() -> None:
            if not self._sqlite or self._sqlite.path.exists():
                with self._alone():
                    unmark(self._client, self._prefix, self._project, names)

        return self._trial is not None or self.attempt(others)

    def sweeps(self, data: str) -> tuple[Any, str, AbstractContextManager[object]]:
        """MLflow's client, the experiment of a data set's sweeps, apart from its runs', and the store's lock. It may fail."""
        return self._client, self._experiment(f"{data} (sweeps)"), self._alone()

    def attempt(self, call: Callable[[], object], after_failure: bool = False) -> bool:
        """Call MLflow; a failure ends nothing: one warning says so, and later calls are not made. Returns whether it worked.

        after_failure: call even after a failure, as MLflow may be back
        """
        if self._failed and not after_failure:
            return False
        try:
            call()
        except Exception as error:  # whatever it is: a training of days must not end because its log cannot be written
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        if not self._failed:
            warn(f"{self._describe(error)} The results on disk are whole; with MLflow back, run: {self._again}")
        self._failed = True

    def open(self, run: RunDescription, tracking_id: str | None) -> RunLog | None:
        """The MLflow run of a training that begins, or that goes on if `tracking_id` is one of its name.

        Finished runs stay, and the current one is current until this one is finished; unfinished ones are superseded.
        None, after a warning, where the project's own store cannot be used. `TrackingError` where one that the user named
        cannot: better now than after hours.
        """
        try:
            return self._open(run, tracking_id)
        except Exception as error:
            if self._named:
                raise TrackingError(
                    f"{self._describe(error)} Is MLFLOW_TRACKING_URI right and its server up?"
                ) from error
            self._warn(error)
            return None

    def finish(self, log: RunLog, folder: Path) -> RunLog:
        """Make `log` hold the whole training in `folder`, or a new one if it holds other figures; the current one of its name.

        It holds other ones where a training went on from an older state than it had logged.
        """
        run, points = _read_run(folder), tuple[Point, ...]()
        if run.origin == "trained":  # others have no history
            points = read(folder / HISTORY, History, f"train@{run.name}").evaluations
        with self._alone():
            if log.contradicts(points):
                log = self._open(run, None)
            log.training(run, points, folder)
            self._runs(run.data, run.name).mark(log.run_id)
        return log

    def monitor(self, run_id: str) -> Any:
        """A started monitor of CPU, memory and GPU use; its `finish()` ends it."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(
            run_id, sampling_interval=_SAMPLE_SECONDS, resume_logging=True, tracking_uri=self._uri
        )
        monitor.start()
        return monitor

    @cached_property
    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _RETRIES)
        import mlflow

        # They would report every table they make and every monitor they start. A lost store is reported by `attempt`, once.
        quiet = dict.fromkeys(("mlflow.system_metrics", "mlflow.store.db.utils"), logging.CRITICAL)
        for name, level in {"mlflow": logging.WARNING, "alembic": logging.WARNING, **quiet}.items():
            logging.getLogger(name).setLevel(level)
        with self._alone():
            return self._sqlite.client() if self._sqlite else mlflow.MlflowClient(tracking_uri=self._uri)

    def _alone(self) -> AbstractContextManager[object]:
        return self._sqlite.lock if self._sqlite else nullcontext()  # a server looks after its own store

    def _experiment(self, data: str) -> str:
        """Id of a data set's experiment, made where there is none."""
        from mlflow.exceptions import MlflowException

        client, name = self._client, f"{self._prefix}{data}"
        with self._alone():
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                location = self._sqlite.files(name) if self._sqlite else None  # a server chooses
                try:
                    # Of a kind whose page opens on runs and metrics, not on traces of language models.
                    tags = {"mlflow.experimentKind": "custom_model_development"}
                    return str(client.create_experiment(name, artifact_location=location, tags=tags))
                except MlflowException:  # another machine may have been faster
                    experiment = client.get_experiment_by_name(name)
                    if experiment is None:
                        raise
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment.experiment_id)
            return str(experiment.experiment_id)

    def _runs(self, data: str, name: str) -> NamedRuns:
        return NamedRuns(self._client, self._experiment(data), name, self._trial, self._project)

    def _open(self, run: RunDescription, tracking_id: str | None) -> RunLog:
        runs = self._runs(run.data, run.name)
        if tracking_id and runs.holds(tracking_id):
            self._client.update_run(tracking_id, status="RUNNING")
            log = RunLog(self._client, tracking_id)
        else:
            tags = {
                "kind": "run",
                **{key: str(getattr(run, key)) for key in ("profile", "selected_on", "family", "origin")},
            }
            log = RunLog(self._client, runs.create(tags).info.run_id)
            wanted = {key: getattr(run, key) for key in ("data", "method", "seed", "profile", "parameters")}
            if run.training is None:  # trained elsewhere: with a recipe that is not known, or not the settings'
                chosen: dict[str, Any] = {f"model.{key}": getattr(run.settings.model, key) for key in ("kind", "dim")}
            else:
                settings, training = run.settings.model_dump(mode="json"), run.training.model_dump(mode="json")
                chosen = {**flatten(settings), **flatten(training, "training.")}
            log.params({key: value for key, value in {**wanted, **chosen}.items() if value is not None})
            log.dataset(run)
        log.versions(run)
        runs.clear(keep=log.run_id)
        return log

    def _record(self, folder: Path) -> RunLog | None:
        """The training's run; None where a trial has it from its experiment."""
        run, result = _read_run(folder), sha256(folder / RUN)
        runs = self._runs(run.data, run.name)
        if runs.not_of_trial(result):
            return None
        known = runs.of(result)
        if known is None:
            return self.finish(self._open(run, None), folder)
        runs.mark(known.info.run_id)
        log = RunLog(self._client, known.info.run_id)
        log.missing_files(folder, "checkpoint")
        return log

    def _record_judged(self, found: Evaluation, folder: Path, result: str, tags: Mapping[str, str]) -> None:
        """The run of what was not trained under its name. result: digest of what it comes from; tags: of a new one"""
        runs = self._runs(found.data, found.name)
        if runs.not_of_trial(result):
            return
        known = runs.of(result)
        if known is None:
            log = RunLog(self._client, runs.create(tags).info.run_id)
            log.judged(found)
            log.evaluation(folder)
            log.end_with(result)
        else:
            log = RunLog(self._client, known.info.run_id)
            log.evaluation(folder)
        runs.mark(log.run_id)

    def _describe(self, error: Exception) -> str:
        cause: BaseException = error
        while not isinstance(cause, sqlite3.Error | OSError) and (below := cause.__cause__ or cause.__context__):
            cause = below
        told = cause if isinstance(cause, sqlite3.Error | OSError) else error
        line = first_line(told)
        if self._sqlite and (remedy := self._sqlite.remedy(line)):
            line, remedy = line.partition(". ")[0], f" {remedy}"
        else:
            remedy = ""
        return f"MLflow at {self._uri} failed ({type(told).__name__}: {line}).{remedy}"


def _read_run(folder: Path) -> Run:
    return read(folder / RUN, Run, f"train@{folder.name}")


def _check_results(folder: Path) -> None:
    stage = f"judge@{folder.name}"
    intact.check(folder, {RANKS: read(folder / METRICS, Evaluation, stage).files[RANKS]})
    read(folder / RETRIEVED, Retrieved, stage)
    if (folder / EXPLAINED).exists():
        read(folder / EXPLAINED, Explained, stage)
