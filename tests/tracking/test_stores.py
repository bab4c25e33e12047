"""Which store is used; a store that fails costs no result."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

import itrcore
from itrcore.errors import DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.runs.records import Point, Run
from itrcore.settings.load import load
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker, TrackingError
from itrcore.training.train import train
from tests.support.mlflow_store import ENSEMBLE, RESULTS, RUN, Store
from tests.support.small_disk import grow, small_disk
from tests.support.tiny_project import weights


def test_another_store_is_used_where_the_environment_names_one(folder: Path, templates: Path, monkeypatch: Any) -> None:
    (folder / "elsewhere").mkdir()
    shutil.copy(templates / "mlflow.db", folder / "elsewhere" / "x.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'elsewhere' / 'x.db'}")
    assert Tracker().record(RUN, RESULTS)
    assert Store(folder / "elsewhere" / "x.db").one().info.status == "FINISHED"
    assert Store().runs() == []
    assert list((folder / "elsewhere" / "mlartifacts" / "tiny").rglob("model.safetensors"))
    assert not (folder / "mlartifacts").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert Tracker().record(RUN, RESULTS)
    assert Store().one().info.status == "FINISHED"


@pytest.mark.parametrize("name", ["itr%20main", "100%", "a%2Fb", "what?x=1", "a b#c", "ü犬'\"$HOME:x&;\n"])
def test_a_project_in_a_folder_of_any_name_has_its_store_in_it(
    folder: Path, templates: Path, name: str, monkeypatch: Any
) -> None:
    project = folder / "moved" / name
    shutil.copytree(templates / "project", project)
    monkeypatch.chdir(project)
    assert Tracker().record(RUN, RESULTS)
    assert [path.name for path in project.parent.iterdir()] == [name]  # nothing beside it
    with closing(sqlite3.connect("mlflow.db")) as database:
        assert database.execute("select name, status from runs").fetchall() == [("one", "FINISHED")]
    (copy,) = (project / "mlartifacts" / "tiny").rglob("model.safetensors")
    assert copy.read_bytes() == weights(RUN)
    # Named as MLflow's own tools name it.
    address = "sqlite:///" + quote(str(project / "mlflow.db"))
    assert "checkpoint/model.safetensors" in Store(address).files(Store(address).one())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert Tracker().record_ensemble(ENSEMBLE)
    assert Path("mlflow.db.lock").exists() and Store(address).one("both").info.status == "FINISHED"


def test_using_one_store_does_not_redirect_the_next_tracker(folder: Path, templates: Path) -> None:
    (folder / "other").mkdir()
    shutil.copy(templates / "mlflow.db", folder / "other")
    assert Tracker().record(RUN, RESULTS)
    assert Tracker(folder / "other").record(Path("runs/tiny/two"), Path("results/tiny/two"))
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert [len(Store().runs(name)) for name in ("one", "two")] == [1, 0]
    assert [len(Store("other/mlflow.db").runs(name)) for name in ("one", "two")] == [0, 1]


class Broken:
    """Makes a tracker's client fail from now on."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.client, self.calls = tracker, tracker._client, 0
        tracker.__dict__["_client"] = self

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_: Any, **__: Any) -> None:
            self.calls += 1
            raise ConnectionError("the server is gone\nand more")

        return fail

    def mend(self) -> None:
        self.tracker.__dict__["_client"] = self.client


@pytest.mark.parametrize("back", [False, True])
def test_a_store_lost_in_mid_training_costs_no_result_is_told_once_and_can_be_repaired(
    back: bool, folder: Path, capsys: Any
) -> None:
    whole = weights(RUN)
    tracker = Tracker()

    class Losing(LiveTraining):
        broken: Broken

        def evaluation(self, point: Point) -> None:
            if point.evaluation == 2:
                self.broken = Broken(tracker)
                self._log._client = self.broken  # type: ignore[union-attr]
            super().evaluation(point)

        def finish(self, folder: Path) -> None:
            if back:
                self.broken.mend()
                self._log._client = self.broken.client  # type: ignore[union-attr]
            super().finish(folder)

    observer = Losing(tracker)
    shutil.rmtree(RUN)
    train(load(), "one", observer)
    assert weights(RUN) == whole
    errors = capsys.readouterr().err
    assert errors.count("warning:") == 1 and "the server is gone" in errors and "run: itr track" in errors
    assert "and more" not in errors
    assert observer.broken.calls == (1 if back else 2)  # each may wait for a dead server: one in time, one at the end
    steps = [step for step, _ in Store().histories(Store().one())["dev/rsum"]]
    assert (Store().one().info.status, steps) == (("FINISHED", [1, 2, 3]) if back else ("RUNNING", [1]))
    evaluate(load(), "one")
    judge(load(), "one")
    assert Tracker().record(RUN, RESULTS)
    assert Store().one().info.status == "FINISHED"
    assert [step for step, _ in Store().histories(Store().one())["dev/rsum"]] == [1, 2, 3]


def test_a_store_that_cannot_be_used_stops_a_training_before_it_begins(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///" + str(folder / "runs"))  # a folder
    with pytest.raises(TrackingError, match=r"MLflow at sqlite:.* failed \(.*Is MLFLOW_TRACKING_URI right"):
        train(load(), "one", LiveTraining(Tracker()))
    assert not list(Path("state").rglob("step-*"))


def test_a_store_that_cannot_be_used_costs_no_evaluation_and_is_told_once(folder: Path, capsys: Any) -> None:
    Path("mlflow.db").write_text("this is no database" * 100)
    tracker = Tracker()
    assert not tracker.record(RUN, RESULTS)
    assert not tracker.record_ensemble(ENSEMBLE)
    errors = capsys.readouterr().err
    assert errors.count("warning:") == 1 and "mlflow.db failed" in errors


def states(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("gone", [True, False], ids=["moved", "copied"])
def test_a_store_that_was_moved_or_copied_holds_the_results_there_and_leaves_the_old_place_alone(
    gone: bool, folder: Path, templates: Path, monkeypatch: Any
) -> None:
    (old := folder / "old 1%25").mkdir()
    shutil.copytree(templates / "project", old, dirs_exist_ok=True)
    monkeypatch.chdir(old)
    for experiment in ("", "f30k"):
        assert Tracker(experiment=experiment).record(RUN, RESULTS)
    shutil.copytree(old, new := folder / "new ü#")
    monkeypatch.chdir(new)
    if gone:
        shutil.rmtree(old)
    before = states(old)
    tracker = Tracker()
    assert tracker.record(RUN, RESULTS)
    Path("page.html").write_text("page")
    assert tracker.attach_report("tiny", "one", {Path("page.html"): ""})
    store = Store(quote(f"sqlite:///{new}/mlflow.db", safe=":/"))
    assert {"checkpoint/model.safetensors", "evaluation/metrics.json", "report/page.html"} <= set(
        store.files(store.one())
    )
    assert states(old) == before and old.exists() != gone
    with closing(sqlite3.connect("mlflow.db")) as database:  # those of other experiments too
        held = database.execute("select artifact_uri from runs").fetchall()
    assert len(held) == 2 and all(uri.startswith((new / "mlartifacts").as_uri() + "/") for (uri,) in held)


def test_files_that_the_store_lost_are_logged_again(folder: Path) -> None:
    assert Tracker().record(RUN, RESULTS)
    before = Store().content()
    shutil.rmtree("mlartifacts")  # as where mlflow.db alone was copied
    assert Tracker().record(RUN, RESULTS)
    (copy,) = (folder / "mlartifacts").rglob("model.safetensors")
    copy.write_bytes(b"cut")
    assert Tracker().record(RUN, RESULTS)
    assert Store().content() == before and copy.read_bytes() == weights(RUN)


@contextmanager
def broken(store: Path, how: str) -> Iterator[Callable[[], object]]:
    """A store that cannot be used, as the name says, and a call that mends it."""
    if how == "another version":

        def set_version(version: str) -> None:
            with closing(sqlite3.connect(store)) as database, database:
                database.execute("update alembic_version set version_num = ?", (version,))

        with closing(sqlite3.connect(store)) as database:
            (right,) = database.execute("select version_num from alembic_version").fetchone()
        set_version("0123456789ab")
        yield lambda: set_version(right)
    elif how == "full":
        disk = store.parent / "disk"
        with small_disk(disk, store.stat().st_size // 1024 + 8):
            shutil.copy(store, disk)
            store.unlink()
            store.symlink_to(disk / store.name)
            yield lambda: grow(disk)
    else:
        kept = store.rename(store.with_name("kept.db"))
        store.mkdir()
        yield lambda: (store.rmdir(), kept.rename(store))


@pytest.mark.parametrize(
    ("how", "told"),
    [("full", "full"), ("not writable", "unable to open"), ("another version", "mlflow db upgrade sqlite")],
)
def test_a_project_whose_own_store_cannot_be_used_trains_with_one_warning_and_is_recorded_later(
    how: str, told: str, folder: Path, capfd: Any
) -> None:
    whole = weights(RUN)
    shutil.rmtree(RUN)
    with broken(folder / "mlflow.db", how) as mend:
        train(load(), "one", LiveTraining(Tracker()))
        errors = capfd.readouterr().err
        assert errors.count("warning:") == 1 and told in errors and "run: itr track" in errors
        assert "Traceback" not in errors and "sqlalche.me" not in errors
        assert weights(RUN) == whole
        mend()
        evaluate(load(), "one")
        judge(load(), "one")
        assert Tracker().record(RUN, RESULTS)
        assert Store().one().info.status == "FINISHED"


def test_a_password_in_the_address_is_not_printed(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://me:secret@host/x")
    with pytest.raises(TrackingError) as caught:
        Tracker().open(Run.model_validate_json((RUN / "run.json").read_bytes()), None)
    assert str(caught.value).startswith("MLflow at nothing://host/x failed")


def test_runs_are_loaded_out_of_the_store(folder: Path) -> None:
    assert Tracker(experiment="f30k").record(RUN, RESULTS)
    key = Store().client.search_runs([Store().client.get_experiment_by_name("f30k/tiny").experiment_id])[0].info.run_id
    expected = itrcore.load(RUN, device="cpu").encode_texts("a circle").vectors
    shutil.rmtree("runs")
    for name in ("f30k/tiny/one", key):
        run = itrcore.load(f"mlflow:{name}", device="cpu")
        assert run.record.name == "one"
        np.testing.assert_array_equal(run.encode_texts("a circle").vectors, expected)
    for name, wanted in (
        ("f30k/tiny/none", "no current run none; expected EXPERIMENT/RUN"),
        ("tiny/one", "no experiment tiny; expected EXPERIMENT/RUN"),
        ("0" * 32, "MLflow failed ("),
    ):
        with pytest.raises(DataError) as refused:
            itrcore.load(f"mlflow:{name}", device="cpu")
        assert str(refused.value).startswith(f"mlflow:{name}: {wanted}")
