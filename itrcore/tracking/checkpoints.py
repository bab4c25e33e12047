"""The files of runs, out of MLflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from itrcore.errors import DataError, first_line
from itrcore.progress import is_hushed
from itrcore.tracking.named_runs import NamedRuns
from itrcore.tracking.sqlite_store import SQLiteStore

CHECKPOINT = "checkpoint"  # the folder of a run's files among its artifacts


def download(name: str, to: Path, where: str | None = None) -> Path:
    """Get the folder of a run into the folder `to`; where it lies there.

    name: the id of an MLflow run, or experiment/name for the current run of that name, as `Tracker` marks it
    where: the store's address; else that of MLFLOW_TRACKING_URI, else mlflow.db in the current folder
    `DataError` where it has no such run, where the run has no such files, or where MLflow fails.
    """
    where = where or os.environ.get("MLFLOW_TRACKING_URI")
    store = SQLiteStore.of(where) if where else SQLiteStore(Path("mlflow.db").absolute())
    if store is not None and not store.path.exists():
        do = "Go to the project's folder, or set MLFLOW_TRACKING_URI."
        raise DataError.at(store.path, "no such file", "MLflow's store", do=do)
    if is_hushed():
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    try:
        import mlflow

        if store is None:
            client: Any = mlflow.MlflowClient(tracking_uri=where)
        else:
            with store.lock:
                client = store.client()
        key = _current(client, name) if "/" in name else name
        if not client.list_artifacts(key, CHECKPOINT):
            raise DataError(f"mlflow:{name}: the run has no folder {CHECKPOINT}; expected a finished training's")
        return Path(client.download_artifacts(key, CHECKPOINT, str(to)))
    except DataError:
        raise
    except Exception as error:  # MLflow's, its database's, its server's: of many types
        raise DataError(f"mlflow:{name}: MLflow failed ({first_line(error)})") from error


def _current(client: Any, name: str) -> str:
    experiment, _, run = name.rpartition("/")
    found = client.get_experiment_by_name(experiment)
    current = found and NamedRuns(client, found.experiment_id, run, None, None).current()
    if not current:
        wrong = f"no current run {run}" if found else f"no experiment {experiment}"
        raise DataError(
            f"mlflow:{name}: {wrong}; expected EXPERIMENT/RUN, such as scenes/scenes-esa_bert-1, or a run's id"
        )
    return str(current.info.run_id)
