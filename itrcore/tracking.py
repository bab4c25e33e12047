"""MLflow: one run per training, holding what its result folders hold. The only module that imports mlflow, and only when used.

The store is SQLite (`mlflow.db`, artifacts in `mlartifacts/`) unless MLFLOW_TRACKING_URI names another, such as a server.
MLflow never is the source of a result: a run can always be rebuilt from `runs/` and `evaluations/` (`itr track`), for
instance where DVC restored a training from its cache, or on a machine that did not do the training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from itrcore.files import read_json, sha256

_NAME, _RESULT, _EVALUATION = "itr.name", "itr.result", "itr.evaluation"
_SAMPLE_SECONDS = 2  # between samples of CPU, memory and GPU use: a demo run lasts no longer than some of them


class Tracker:
    """One project's MLflow store; an experiment per data set."""

    def __init__(self, root: Path = Path(".")) -> None:
        """root: where the SQLite store lies or is made."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        self._mlflow = mlflow
        self._root = root.absolute()
        self._local = "MLFLOW_TRACKING_URI" not in os.environ
        if self._local:
            mlflow.set_tracking_uri(f"sqlite:///{self._root / 'mlflow.db'}")
        mlflow.set_system_metrics_sampling_interval(_SAMPLE_SECONDS)
        self._client = mlflow.MlflowClient()

    def training(self) -> LiveTraining:
        """An observer that logs a training while it goes on."""
        return LiveTraining(self)

    def record(self, run_folder: Path, evaluation_folder: Path) -> None:
        """Make the MLflow run of a training hold exactly what these two folders hold."""
        run = read_json(run_folder / "run.json")
        self.record_training(run_folder)
        self._record_evaluation(run["data"], run["name"], evaluation_folder)

    def record_training(self, folder: Path) -> None:
        """The active run of this name is the one of this result: kept, brought back, or written from the files."""
        run = read_json(folder / "run.json")
        experiment = self._experiment(run["data"])
        result = sha256(folder / "run.json")
        mine = self._find(experiment, run["name"], deleted=True, **{_RESULT: result})
        if mine is None:
            with self._open(experiment, run, None, live=False) as run_id:
                for record in read_json(folder / "history.json")["epochs"]:
                    self._log_epoch(run_id, record)
                self._log_training(run_id, folder)
            return
        if mine.info.lifecycle_stage == "deleted":
            self._client.restore_run(mine.info.run_id)
        self._supersede(experiment, run["name"], keep=mine.info.run_id)

    def record_ensemble(self, folder: Path) -> None:
        """An ensemble's run: its metrics, members and files."""
        result = read_json(folder / "metrics.json")
        experiment = self._experiment(result["data"])
        if self._find(experiment, result["name"]) is None:
            tags = {_NAME: result["name"], "kind": "ensemble", "features": result["features"]}
            run = self._client.create_run(experiment, run_name=result["name"], tags=tags)
            self._client.set_terminated(run.info.run_id)
        self._record_evaluation(result["data"], result["name"], folder)

    def attach_report(self, data: str, name: str, files: Mapping[Path, str]) -> None:
        """Put files (path → folder inside `report/`) of the report into a run's artifacts."""
        run = self._find(self._experiment(data), name)
        if run is not None:
            for path, inside in files.items():
                self._client.log_artifact(run.info.run_id, str(path), f"report/{inside}".rstrip("/"))

    def _record_evaluation(self, data: str, name: str, folder: Path) -> None:
        result = read_json(folder / "metrics.json")
        done = sha256(folder / "metrics.json")
        run = self._find(self._experiment(data), name)
        if run is None or run.data.tags.get(_EVALUATION) == done:
            return
        run_id = run.info.run_id
        for key, value in result["metrics"].items():
            self._client.log_metric(run_id, f"{result['split']}_{key}", value)
        for key in ("encode_image_ms", "encode_caption_ms", "score_image_ms", "score_caption_ms"):
            if result[key] is not None:
                self._client.log_metric(run_id, key, result[key])
        if result["kind"] == "ensemble":
            self._client.set_tag(run_id, "members", ", ".join(result["members"]))
        self._tag_versions(run_id, result)
        self._client.log_artifacts(run_id, str(folder), "evaluation")
        self._client.set_tag(run_id, _EVALUATION, done)

    def _experiment(self, data: str) -> str:
        """Experiment id; made under a lock, as two first users of a fresh SQLite store would corrupt it."""
        with FileLock(self._root / ".mlflow.lock"):
            found = self._client.get_experiment_by_name(data)
            if found is not None:
                if found.lifecycle_stage == "deleted":
                    self._client.restore_experiment(found.experiment_id)
                return str(found.experiment_id)
            # A server chooses its own artifact store; for SQLite it is stated, as the default depends on the caller's folder.
            location = (self._root / "mlartifacts" / data).as_uri() if self._local else None
            return str(self._client.create_experiment(data, artifact_location=location))

    def _find(self, experiment: str, name: str, deleted: bool = False, **tags: str) -> Any | None:
        from mlflow.entities import ViewType

        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in {_NAME: name, **tags}.items())
        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        found = self._client.search_runs([experiment], wanted, view, order_by=["attributes.start_time DESC"])
        active = [run for run in found if run.info.lifecycle_stage == "active"]
        return (active or found or [None])[0]

    def _supersede(self, experiment: str, name: str, keep: str | None) -> None:
        """Older runs of this name go to MLflow's bin, whence `mlflow gc` removes them for good."""
        for run in self._client.search_runs([experiment], f"tags.`{_NAME}` = '{name}'"):
            if run.info.run_id != keep:
                self._client.delete_run(run.info.run_id)

    @contextmanager
    def _open(self, experiment: str, run: Mapping[str, Any], run_id: str | None, live: bool) -> Iterator[str]:
        self.start(experiment, run, run_id, live)
        status = "FAILED"
        try:
            yield self._mlflow.active_run().info.run_id
            status = "FINISHED"
        finally:
            self._mlflow.end_run(status)

    def start(self, experiment: str, run: Mapping[str, Any], run_id: str | None, live: bool) -> str:
        """Start (or go on with) the active MLflow run of a training; supersedes others of its name."""
        known = run_id is not None and any(
            found.info.run_id == run_id
            for found in self._client.search_runs([experiment], f"tags.`{_NAME}` = '{run['name']}'")
        )
        tags = {
            _NAME: run["name"],
            "kind": "run",
            **{key: str(run[key]) for key in ("features", "profile", "selected_on")},
        }
        active = self._mlflow.start_run(
            run_id=run_id if known else None,
            experiment_id=experiment,
            run_name=run["name"],
            tags=tags,
            log_system_metrics=live,
        )
        started = str(active.info.run_id)
        self._supersede(experiment, run["name"], keep=started)
        if not known:
            wanted = {key: run[key] for key in ("data", "method", "seed", "profile", "parameters")}
            self._mlflow.log_params({**wanted, **flatten(run["settings"]), **flatten(run["training"], "training.")})
        self._tag_versions(started, run)
        return started

    def _tag_versions(self, run_id: str, described: Mapping[str, Any]) -> None:
        self._client.set_tag(run_id, "data_digest", described["data_digest"])
        self._client.set_tag(run_id, "code_version", described["code_version"])
        self._client.set_tag(run_id, "features", described["features"])
        if (lock := self._root / "dvc.lock").exists():
            self._client.set_tag(run_id, "dvc_lock", sha256(lock))

    def _log_epoch(self, run_id: str, record: Mapping[str, Any]) -> None:
        values = {f"loss_{key}": value for key, value in record["losses"].items()}
        values |= {f"dev_{key}": value for key, value in record["dev"].items()}
        values |= {key: record[key] for key in ("learning_rate", "pairs_per_second")}
        for key, value in values.items():
            self._client.log_metric(run_id, key, value, step=record["epoch"], synchronous=False)

    def _log_training(self, run_id: str, folder: Path) -> None:
        run = read_json(folder / "run.json")
        self._client.log_metric(run_id, "train_seconds", run["train_seconds"])
        self._client.log_metric(run_id, "best_epoch", run["best_epoch"])
        self._client.log_artifacts(run_id, str(folder), "checkpoint")
        self._client.set_tag(run_id, _RESULT, sha256(folder / "run.json"))


class LiveTraining:
    """Logs a training while it goes on (an `Observer`)."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._run_id = ""

    def begin(self, run: dict[str, Any], tracking_id: str | None) -> str | None:
        """Open the run, or open it again."""
        experiment = self._tracker._experiment(run["data"])
        self._run_id = self._tracker.start(experiment, run, tracking_id, live=True)
        return self._run_id

    def epoch(self, record: dict[str, Any]) -> None:
        """Loss terms, dev metrics, learning rate and speed of one epoch."""
        self._tracker._log_epoch(self._run_id, record)

    def finish(self, folder: Path) -> None:
        """Checkpoint and history as artifacts; the run is finished."""
        self._tracker._log_training(self._run_id, folder)
        self._tracker._mlflow.end_run("FINISHED")

    def fail(self) -> None:
        """The run is marked as failed; the next attempt supersedes it."""
        if self._run_id:
            self._tracker._mlflow.end_run("FAILED")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `model.text.dropout: 0.1`, as MLflow wants parameters."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
