"""An imported run in MLflow: one run like any other, with its checkpoint and nothing that only a training has."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json, sha256
from itrcore.released.exporting import export_run
from itrcore.released.importing import import_run
from itrcore.settings.load import load
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from tests.support.mlflow_store import Store
from tests.support.tiny_project import project, train_in, write_params

CHECKPOINT = Path("model_best.pth")


@pytest.fixture(scope="module")
def template(tmp_path_factory: Any) -> Path:
    """A project with a trained and exported run, untracked; and a fresh, empty MLflow store."""
    from mlflow import MlflowClient

    folder: Path = tmp_path_factory.mktemp("template")
    project(folder)
    train_in(folder, "one")
    with contextlib.chdir(folder):
        export_run(Path("runs/tiny/one"), CHECKPOINT)
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """A copy of it with run `new`, to be imported, as the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    configure()
    return tmp_path


def configure(profile: str | None = None) -> None:
    text_digest = read_json(Path("runs/tiny/one/run.json"))["text_digest"]
    checkpoint = {"path": str(CHECKPOINT), "sha256": sha256(CHECKPOINT), "text_digest": text_digest}
    new = {"data": "tiny", "method": "esa", "profile": profile, "checkpoint": checkpoint}
    write_params(Path("."), {"runs.new": new, "profiles": {"wide": {"model": {"dim": 32}}}})


def imported() -> Any:
    """Import, evaluate, judge and record as the stages do; MLflow's one run of that name."""
    tracker = Tracker()
    run = import_run(load(), "new", LiveTraining(tracker))
    evaluate(load(), "new")
    judge(load(), "new")
    assert tracker.record(run, Path("results/tiny/new"))
    return Store().current("new")


def test_an_import_is_one_finished_run_with_its_checkpoint_and_no_training(folder: Path) -> None:
    run = imported()
    assert run.info.status == "FINISHED"
    tags = {"kind": "run", "origin": "imported", "family": "esa_bigru", "selected_on": "unknown (imported)"}
    tags |= {"checkpoint": f"model_best.pth {sha256(CHECKPOINT)}", "vocabulary": "the vocabulary of tiny"}
    assert tags.items() <= run.data.tags.items()
    params = run.data.params
    assert {"data": "tiny", "method": "esa", "profile": "published", "model.dim": "16"}.items() <= params.items()
    # What it was trained with is not known: our recipe, loss and training settings would be wrong there.
    assert params.keys() == {"data", "method", "profile", "parameters", "model.kind", "model.dim"}
    metrics = set(Store().histories(run))
    assert {key for key in metrics if key.startswith(("dev/", "loss/", "train/", "time/train"))} == {"train/best_epoch"}
    assert {"test/rsum", "test/i2t_r1", "time/encode_image_ms"} <= metrics
    assert Store().files(run) == [
        *(f"checkpoint/{name}" for name in ("model.safetensors", "run.json", "text/vocab.json")),
        *(f"evaluation/{name}" for name in ("metrics.json", "ranks.parquet", "retrieved.json")),
    ]


def test_an_import_done_again_is_the_current_one_and_the_earlier_one_stays(folder: Path) -> None:
    first = imported().info.run_id
    configure("wide")
    second = imported()
    assert second.info.run_id != first and second.data.params["profile"] == "wide"
    assert Store().marks("new") == {first: "false", second.info.run_id: "true"} and Store().runs("new", view=2) == []


def test_a_lost_store_is_rebuilt_from_the_folders_of_an_import(folder: Path, template: Path) -> None:
    imported()
    before = Store().content("new")
    shutil.copy(template / "mlflow.db", folder / "mlflow.db")
    assert Tracker().record(Path("runs/tiny/new"), Path("results/tiny/new"))
    assert Store().content("new") == before


def test_an_import_that_fails_is_marked_and_takes_nothing_away(folder: Path, monkeypatch: Any) -> None:
    first = imported().info.run_id

    def full(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr("itrcore.released.importing.save_file", full)
        import_run(load(), "new", LiveTraining(Tracker()))
    assert {run.info.run_id == first: run.info.status for run in Store().runs("new")} == {
        True: "FINISHED",
        False: "FAILED",
    }
