"""MLflow holds one run per training, whole; it can be rebuilt from the result folders, and its failures cost no result."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json, sha256, write_json
from itrcore.runs.records import Point, Run
from itrcore.settings.load import load
from itrcore.tracking import LiveTraining, Tracker, TrackingError
from itrcore.tracking.synchronise import synchronise
from itrcore.training.state import StateFolder
from itrcore.training.train import train
from tests.support.tiny_project import project, train_in, weights, write_params


@pytest.fixture(scope="module")
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


RUN, RESULTS, ENSEMBLE = Path("runs/tiny/one"), Path("results/tiny/one"), Path("results/tiny/both")


class Store:
    """What a store holds, asked for by another client than the tracker's."""

    def __init__(self, uri: str | Path = "mlflow.db") -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(
            uri if isinstance(uri, str) and "://" in uri else f"sqlite:///{Path(uri).absolute()}"
        )

    def runs(self, name: str = "one", view: int = 1) -> list[Any]:
        experiment = self.client.get_experiment_by_name("tiny")
        if experiment is None:
            return []
        found = self.client.search_runs([experiment.experiment_id], run_view_type=view)
        return [run for run in found if run.info.run_name == name]

    def one(self, name: str = "one") -> Any:
        (run,) = self.runs(name)
        return run

    def files(self, run: Any, path: str | None = None) -> list[str]:
        found = []
        for item in self.client.list_artifacts(run.info.run_id, path):
            found += self.files(run, item.path) if item.is_dir else [item.path]
        return sorted(found)

    def histories(self, run: Any) -> dict[str, list[tuple[int, float]]]:
        keys = [key for key in run.data.metrics if not key.startswith("system/")]
        return {
            key: sorted((m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, key)) for key in keys
        }

    def content(self, name: str = "one") -> Any:
        run = self.one(name)
        tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
        return run.info.status, run.data.params, tags, self.histories(run), self.files(run)


def retrain(**changes: Any) -> Path:
    """Train run `one` again, live, as stage `train` does, evaluate and judge it, and record all of it, as stage `report` does."""
    write_params(Path("."), changes)
    run = train(load(), "one", Tracker().training())
    evaluate(load(), "one")
    judge(load(), "one")
    assert Tracker().record(RUN, RESULTS)
    return run


def test_a_training_is_one_run_with_all_that_its_folders_hold(folder: Path) -> None:
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    retrain(**{"methods.esa.recipe.evaluations": 2})
    store, described = Store(), read_json(RUN / "run.json")
    run = store.one()
    assert run.info.status == "FINISHED"
    settings = {"data": "tiny", "method": "esa", "seed": "1", "profile": "published"}
    inner = {"model.text.dropout": "0.1", "recipe.schedule.epochs": "[2]", "training.save_every_steps": "4"}
    assert (settings | inner).items() <= run.data.params.items()
    tags = {key: described[key] for key in ("data_digest", "code_version", "features")}
    assert {**tags, "dvc_lock": sha256(folder / "dvc.lock"), "kind": "run"}.items() <= run.data.tags.items()
    histories = store.histories(run)
    for record in read_json(RUN / "history.json")["evaluations"]:
        number = record["evaluation"]
        for key, value in {**record["dev"], "rsum": record["dev"]["rsum"]}.items():
            assert (number, value) in histories[f"dev/{key}"]
        assert (number, record["losses"]["total"]) in histories["loss/total"]
        assert (number, record["learning_rate"]) in histories["learning_rate"]
    assert [step for step, _ in histories["dev/rsum"]] == [1, 2, 3, 4, 5, 6]  # MLflow knows no half steps
    assert [epoch for _, epoch in histories["epoch"]] == [0.53, 1, 1.53, 2, 2.53, 3]
    measured = read_json(RESULTS / "metrics.json")
    assert run.data.metrics["test/rsum"] == measured["metrics"]["rsum"]
    assert run.data.metrics["encode_image_ms"] == measured["encode_image_ms"]
    assert run.data.metrics["best_epoch"] == described["best_epoch"]
    assert store.files(run) == [
        *(f"checkpoint/{name}" for name in ("history.json", "model.safetensors", "run.json", "text/vocab.json")),
        *(f"evaluation/{name}" for name in ("metrics.json", "ranks.safetensors", "retrieved.json")),
    ]
    (copy,) = (folder / "mlartifacts" / "tiny").rglob("model.safetensors")  # of the project, wherever it is called from
    assert copy.read_bytes() == weights(RUN)


def test_training_again_leaves_one_active_run_and_the_older_one_in_the_bin(folder: Path) -> None:
    retrain()
    first = Store().one().info.run_id
    during: list[list[str]] = []

    class Watching(LiveTraining):
        def evaluation(self, point: Point) -> None:
            super().evaluation(point)
            during.append([run.info.run_id for run in Store().runs() if run.info.status == "FINISHED"])

    train(write_params(folder, {"methods.esa.recipe.learning_rate": 1e-3}), "one", Watching(Tracker()))
    assert during == [[first]] * 3  # a training that fails takes nothing away
    second = Store().one()
    assert second.info.run_id != first and second.data.params["recipe.learning_rate"] == "0.001"
    assert [run.info.run_id for run in Store().runs(view=2)] == [first]


def test_a_failed_training_is_marked_and_the_next_one_takes_its_place(folder: Path, monkeypatch: Any) -> None:
    retrain()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="boom"):
        patch.setattr(
            "itrcore.training.loop.Trainer.evaluate_dev", lambda self: (_ for _ in ()).throw(RuntimeError("boom"))
        )
        train(write_params(folder, {"runs.one.seed": 5}), "one", Tracker().training())
    assert sorted(run.info.status for run in Store().runs()) == ["FAILED", "FINISHED"]
    retrain(**{"runs.one.seed": 6})
    assert Store().one().data.params["seed"] == "6"


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_in_its_own_run_without_an_epoch_twice(folder: Path, monkeypatch: Any) -> None:
    saves = iter(range(100))
    original = StateFolder.save

    def save(self: StateFolder, *arguments: Any) -> None:
        original(self, *arguments)
        if next(saves) == 6:  # the end of an epoch: saved, and not yet logged
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StateFolder, "save", save)
        patch.setattr(LiveTraining, "fail", lambda self: None)  # a killed process tells nobody
        train(load(), "one", Tracker().training())
    run = Store().one()
    assert (run.info.status, [step for step, _ in Store().histories(run)["dev/rsum"]]) == ("RUNNING", [1])
    train(load(), "one", Tracker().training())
    again = Store().one()
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert [step for step, _ in Store().histories(again)["dev/rsum"]] == [1, 2, 3]
    assert Store().runs(view=2) == []


def test_recording_again_what_is_recorded_changes_nothing(folder: Path) -> None:
    retrain()
    assert Tracker().record_ensemble(ENSEMBLE)
    before = Store().content(), Store().content("both")
    files = {path: path.stat().st_mtime_ns for path in (folder / "mlartifacts").rglob("*") if path.is_file()}
    assert Tracker().record(RUN, RESULTS) and Tracker().record_ensemble(ENSEMBLE)
    assert (Store().content(), Store().content("both")) == before
    assert {p: p.stat().st_mtime_ns for p in (folder / "mlartifacts").rglob("*") if p.is_file()} == files
    assert Store().runs(view=2) == Store().runs("both", view=2) == []


def test_a_lost_store_is_rebuilt_from_the_folders(folder: Path, templates: Path) -> None:
    retrain()
    before = Store().content()
    shutil.copy(templates / "mlflow.db", folder / "mlflow.db")
    assert Tracker().record(RUN, RESULTS)
    assert Store().content() == before


def test_going_back_to_an_earlier_result_brings_its_run_back(folder: Path) -> None:
    retrain()
    first = Store().one().info.run_id
    shutil.copytree("runs", "runs-1"), shutil.copytree("results", "results-1")
    retrain(**{"methods.esa.recipe.learning_rate": 1e-3})
    second = Store().one().info.run_id
    for wanted, runs, results in ((first, "runs-1", "results-1"), (second, "runs", "results")):
        assert Tracker().record(Path(runs, "tiny/one"), Path(results, "tiny/one"))
        assert Store().one().info.run_id == wanted
        assert len(Store().runs(view=3)) == 2
        assert (
            Store().one().data.metrics["test/rsum"]
            == read_json(Path(results, "tiny/one/metrics.json"))["metrics"]["rsum"]
        )


def test_a_new_evaluation_of_the_same_training_updates_its_run(folder: Path) -> None:
    tracker = Tracker()
    assert tracker.record(RUN, RESULTS)
    result = read_json(RESULTS / "metrics.json")
    result["metrics"]["rsum"] = 123.0
    write_json(RESULTS / "metrics.json", result)
    assert tracker.record(RUN, RESULTS)
    assert Store().one().data.metrics["test/rsum"] == 123.0


def test_an_ensemble_is_a_run_with_its_members_and_the_report_goes_where_the_result_is(folder: Path) -> None:
    tracker = Tracker()
    assert tracker.record_ensemble(ENSEMBLE)
    run = Store().one("both")
    assert (run.info.status, run.data.tags["kind"], run.data.tags["members"]) == ("FINISHED", "ensemble", "one, two")
    assert run.data.metrics["test/rsum"] == read_json(ENSEMBLE / "metrics.json")["metrics"]["rsum"]
    assert tracker.record_ensemble(ENSEMBLE)
    assert Store().one("both").info.end_time == run.info.end_time  # recording it again makes it no longer
    Path("page.html").write_text("page")
    assert tracker.attach_report("tiny", "both", {Path("page.html"): "tiny"})
    assert "report/tiny/page.html" in Store().files(Store().one("both"))
    assert tracker.attach_report("tiny", "nobody", {Path("page.html"): "tiny"})


def test_everything_with_results_is_recorded_with_its_page_and_what_has_none_is_named(folder: Path) -> None:
    for page in ("runs/one.html", "ensembles/both.html"):
        (folder / "report" / page).parent.mkdir(parents=True)
        (folder / "report" / page).write_text("<p>page</p>")
    shutil.rmtree("results/tiny/two")
    found = synchronise(load())
    assert (found.held, found.refused, found.missing) == (["one", "both"], [], ["two"])
    assert [len(Store().runs(name)) for name in ("one", "two", "both")] == [1, 0, 1]
    assert "report/runs/one.html" in Store().files(Store().one())
    assert "report/ensembles/both.html" in Store().files(Store().one("both"))
    before = Store().content(), Store().content("both")
    synchronise(load())
    assert (Store().content(), Store().content("both")) == before


def test_what_mlflow_does_not_take_is_named_and_told_once(folder: Path, capsys: Any) -> None:
    Path("mlflow.db").write_text("this is no database" * 100)
    found = synchronise(load())
    assert (found.held, found.refused, found.missing) == ([], ["one", "two", "both"], [])
    assert capsys.readouterr().err.count("warning:") == 1


def test_each_experiment_has_its_own_experiments_in_the_one_store(folder: Path) -> None:
    assert Tracker(folder, "f30k").record(RUN, RESULTS)
    assert Tracker(folder).record(Path("runs/tiny/two"), Path("results/tiny/two"))
    held = {found.name: found.experiment_id for found in Store().client.search_experiments()}
    assert {"tiny", "f30k/tiny"} <= held.keys()
    names = [[run.info.run_name for run in Store().client.search_runs([held[name]])] for name in ("f30k/tiny", "tiny")]
    assert names == [["one"], ["two"]]


def test_a_trial_takes_nothing_away_and_records_what_it_trained_alone(folder: Path) -> None:
    retrain()
    before = Store().content()
    trial = Tracker(folder, trial="wide")
    assert trial.record(RUN, RESULTS)  # copied into the trial, not trained by it
    assert Store().runs("one (wide)") == []
    write_params(folder, {"runs.one.seed": 5})
    train(load(), "one", trial.training())
    evaluate(load(), "one")
    judge(load(), "one")
    assert trial.record(RUN, RESULTS)
    assert Store().one("one (wide)").data.params["seed"] == "5"
    assert Store().content() == before


def test_another_store_is_used_where_the_environment_names_one(folder: Path, templates: Path, monkeypatch: Any) -> None:
    (folder / "elsewhere").mkdir()
    shutil.copy(templates / "mlflow.db", folder / "elsewhere" / "x.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'elsewhere' / 'x.db'}")
    assert Tracker().record(RUN, RESULTS)
    assert Store(folder / "elsewhere" / "x.db").one().info.status == "FINISHED"
    assert Store().runs() == []
    assert list((folder / "mlartifacts" / "tiny").rglob("model.safetensors"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert Tracker().record(RUN, RESULTS)
    assert Store().one().info.status == "FINISHED"


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
    said = capsys.readouterr().err
    assert said.count("warning:") == 1 and "the server is gone" in said and "run: itr track" in said
    assert "and more" not in said
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
        train(load(), "one", Tracker().training())
    assert not list(Path("state").rglob("step-*"))


def test_a_store_that_cannot_be_used_costs_no_evaluation_and_is_told_once(folder: Path, capsys: Any) -> None:
    Path("mlflow.db").write_text("this is no database" * 100)
    tracker = Tracker()
    assert not tracker.record(RUN, RESULTS)
    assert not tracker.record_ensemble(ENSEMBLE)
    said = capsys.readouterr().err
    assert said.count("warning:") == 1 and "mlflow.db failed" in said


def test_a_password_in_the_address_is_not_printed(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://me:secret@host/x")
    with pytest.raises(TrackingError) as caught:
        Tracker().open(Run.model_validate_json((RUN / "run.json").read_bytes()), None)
    assert str(caught.value).startswith("MLflow at nothing://host/x failed")
