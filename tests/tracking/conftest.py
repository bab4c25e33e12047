"""A project with results and a fresh MLflow store, copied for each test."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.settings.load import load
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from itrcore.training.train import train
from tests.support.mlflow_store import RESULTS, RUN
from tests.support.tiny_project import project, train_in, write_params


@pytest.fixture(scope="package")
def templates(tmp_path_factory: Any) -> Path:
    """A project with two trained and evaluated runs and an ensemble, untracked; and a fresh, empty MLflow store."""
    from mlflow import MlflowClient

    folder: Path = tmp_path_factory.mktemp("templates")
    params = project(folder / "project")
    with contextlib.chdir(folder / "project"):
        for name in ("one", "two"):
            train_in(folder / "project", name)
            evaluate(params, name)
            judge(params, name)
        evaluate_ensemble(params, "both")
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder


@pytest.fixture
def folder(templates: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of that project with that store, as the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(templates / "project", tmp_path, dirs_exist_ok=True)
    shutil.copy(templates / "mlflow.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def retrain(trial: str | None = None, **changes: Any) -> None:
    """Train run `one` again, live, as stage `train` does, evaluate and judge it, and record all of it, as stage `report` does."""
    write_params(Path("."), changes)
    train(load(), "one", LiveTraining(Tracker(trial=trial)))
    evaluate(load(), "one")
    judge(load(), "one")
    assert Tracker(trial=trial).record(RUN, RESULTS)
