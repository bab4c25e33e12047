"""Every finished result keeps its run in MLflow; the one that the folders hold is marked as the current one of its name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from itrcore.files import digest, read_json, sha256
from itrcore.runs.records import Run
from itrcore.settings.load import load
from itrcore.tracking.run_log import RunLog
from itrcore.tracking.synchronise import synchronise
from itrcore.tracking.tracker import Tracker
from tests.support.mlflow_store import ENSEMBLE, RESULTS, RUN, Store
from tests.support.tiny_project import rewrite, write_params
from tests.tracking.conftest import retrain


def trained(seconds: float) -> None:
    """Run `one` as if trained and evaluated anew, in this many seconds."""
    for path in (RUN / "run.json", RESULTS / "metrics.json"):
        rewrite(path, train_seconds=seconds)


def described() -> Run:
    return Run.model_validate_json((RUN / "run.json").read_bytes())


def current(tracker: Tracker | None = None) -> str:
    """The id of `one` once it is recorded: the only one marked."""
    assert (tracker or Tracker()).record(RUN, RESULTS)
    return str(Store().current().info.run_id)


def test_an_earlier_training_that_is_restored_is_current_again_and_nothing_is_logged_twice(folder: Path) -> None:
    first = current()
    shutil.copytree("runs", "runs-1"), shutil.copytree("results", "results-1")
    rewrite(RESULTS / "metrics.json", metrics={**read_json(RESULTS / "metrics.json")["metrics"], "rsum": 99.0})
    trained(1.0)
    second = current()
    held = [Store().histories(run) for run in Store().runs()]
    for wanted, runs, results in ((first, "runs-1", "results-1"), (second, "runs", "results")):
        run, result = Path(runs, "tiny/one"), Path(results, "tiny/one")
        assert Tracker().record(run, result)
        assert Store().marks() == {first: str(wanted == first).lower(), second: str(wanted == second).lower()}
        assert Store().current().data.metrics["test/rsum"] == read_json(result / "metrics.json")["metrics"]["rsum"]
    assert [Store().histories(run) for run in Store().runs()] == held and Store().runs(view=2) == []


def test_a_page_of_the_report_goes_to_the_current_run_even_if_another_one_is_newer(folder: Path) -> None:
    shutil.copytree("runs", "runs-1"), shutil.copytree("results", "results-1")
    first = current()
    trained(1.0)
    assert current() != first
    assert Tracker().record(Path("runs-1/tiny/one"), Path("results-1/tiny/one"))
    Path("page.html").write_text("page")
    assert Tracker().attach_report("tiny", "one", {Path("page.html"): ""})
    assert ["report/page.html" in Store().files(run) for run in Store().runs() if run.info.run_id == first] == [True]
    assert sum("report/page.html" in Store().files(run) for run in Store().runs()) == 1


def test_itr_track_repairs_wrong_marks_and_takes_those_of_names_that_are_gone(folder: Path) -> None:
    for experiment in ("", "f30k"):
        tracker = Tracker(experiment=experiment)
        assert tracker.record(RUN, RESULTS) and tracker.record_ensemble(ENSEMBLE)
    store, first = Store(), current()
    other = store.client.get_experiment_by_name("f30k/tiny")
    trained(1.0)
    second = current()
    # As after two processes that marked at the same moment on a server, and after a mark that was taken away by hand.
    for marks in ({first: "true", second: "true"}, {first: "false", second: "false"}):
        for key, mark in marks.items():
            store.client.set_tag(key, "current", mark)
        synchronise(load())
        assert store.marks() == {first: "false", second: "true"}
    assert sorted(store.marks("both").values()) == ["true"]
    params = write_params(folder, {"runs": {"two": {"data": "tiny", "method": "gpo", "seed": 1}}, "ensembles": {}})
    synchronise(params)
    assert {*store.marks().values(), *store.marks("both").values()} == {"false"}
    assert list(store.marks("two").values()) == ["true"]
    held = store.client.search_runs([other.experiment_id], "tags.current = 'true'")
    assert sorted(run.info.run_name for run in held) == ["both", "one"]  # of another experiment in the same store


def test_runs_of_a_data_set_that_is_gone_are_no_longer_current(folder: Path) -> None:
    current()
    values = {"datasets": {}, "runs": {}, "ensembles": {}}
    synchronise(write_params(folder, values))
    assert list(Store().marks().values()) == ["false"]


def test_where_projects_share_a_store_each_marks_its_own_and_bins_nothing_of_the_other(
    folder: Path, templates: Path, monkeypatch: Any
) -> None:
    for name in ("a", "b"):
        shutil.copytree(templates / "project", name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    a, b = Tracker(folder / "a"), Tracker(folder / "b")
    assert a.record(RUN, RESULTS) and b.record_ensemble(ENSEMBLE)
    begun = a.open(described(), None)  # and goes on
    assert begun is not None
    trained(1.0)
    assert b.record(RUN, RESULTS)
    assert Store().client.get_run(begun.run_id).info.lifecycle_stage == "active"
    assert [run.data.tags["itr.project"] for run in Store().runs() if run.data.tags["current"] == "true"] == [
        digest(str(folder / "b"))
    ]
    a.unmark_others([])
    assert [*Store().marks("both").values()] == ["true"] and Store().current()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert Tracker().record(Path("runs/tiny/two"), Path("results/tiny/two"))  # before it was behind a server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    a.unmark_others([])
    assert [*Store().marks("two").values()] == ["false"]
    b.unmark_others([("tiny", "one")])
    assert [*Store().marks("both").values()] == ["false"] and Store().current()


def test_a_trial_has_a_current_run_of_its_own_name(folder: Path) -> None:
    first = current()
    retrain(trial="wide", **{"runs.one.seed": 5})
    assert (Store().marks(), list(Store().marks("one (wide)").values())) == ({first: "true"}, ["true"])
    trial = Store().one("one (wide)")
    assert (trial.data.params["seed"], trial.data.tags["trial"]) == ("5", "wide")
    synchronise(load())  # the experiment itself, whose folders the trial's results are in now: applied
    assert Store().marks() == {first: "false", trial.info.run_id: "true"} and Store().runs("one (wide)") == []


def test_trials_stay_current_as_long_as_params_yaml_has_their_run(folder: Path) -> None:
    shutil.copytree("runs", "runs-1"), shutil.copytree("results", "results-1")
    trained(1.0)
    assert Tracker(trial="wide").record(RUN, RESULTS)
    shutil.rmtree("runs"), shutil.rmtree("results")
    shutil.move("runs-1", "runs"), shutil.move("results-1", "results")
    synchronise(load())
    assert list(Store().marks("one (wide)").values()) == ["true"] == list(Store().marks().values())
    values = {"runs": {"two": {"data": "tiny", "method": "gpo", "seed": 1}}, "ensembles": {}}
    assert Tracker(trial="wide").unmark_others([])  # a trial takes no marks
    assert list(Store().marks().values()) == ["true"]
    synchronise(write_params(folder, values))
    assert list(Store().marks("one (wide)").values()) == ["false"] == list(Store().marks().values())


def test_an_evaluation_of_an_earlier_training_is_not_of_the_new_one(folder: Path) -> None:
    first = current()
    rewrite(RUN / "run.json", train_seconds=1.0)  # trained anew, and not yet evaluated
    outcome = synchronise(load())
    assert outcome.missing == ["one"]
    second = current()
    assert second != first and not [key for key in Store().current().data.metrics if key.startswith("test/")]
    assert not [path for path in Store().files(Store().current()) if path.startswith("evaluation")]


def test_a_training_that_ended_between_its_last_entry_and_its_end_is_kept(folder: Path, monkeypatch: Any) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    tracker = Tracker()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(type(tracker._client), "set_terminated", killed)
        tracker.record(RUN, RESULTS)
    first = Store().one()
    assert first.info.status == "RUNNING"
    trained(1.0)
    second = current()
    assert Store().marks() == {first.info.run_id: "false", second: "true"}
    assert {run.info.status for run in Store().runs()} == {"FINISHED"}


def test_an_ensemble_of_other_members_results_is_a_run_of_its_own(folder: Path) -> None:
    def recorded(scores: str) -> str:
        (ENSEMBLE / "ranks.parquet").write_text(scores)
        rewrite(ENSEMBLE / "metrics.json", files={"ranks.parquet": sha256(ENSEMBLE / "ranks.parquet")})
        assert Tracker().record_ensemble(ENSEMBLE)
        return str(Store().current("both").info.run_id)

    current()
    first, second = recorded("a"), recorded("b")
    assert first != second and Store().marks("both") == {first: "false", second: "true"}
    assert recorded("a") == first and Store().marks("both") == {first: "true", second: "false"}
    rewrite(ENSEMBLE / "metrics.json", members=["two", "one"])
    third = recorded("a")
    assert third not in (first, second) and Store().current("both").data.params["members"] == "two, one"
    assert Store().runs("both", view=2) == []
    experiment = Store().client.get_experiment_by_name("tiny").experiment_id
    found = Store().client.search_runs([experiment], "tags.kind = 'ensemble' and params.n_members = '2'")
    assert {run.info.run_id for run in found} == {first, second, third}


def test_an_ensemble_whose_recording_was_killed_is_recorded_once(folder: Path, monkeypatch: Any) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunLog, "evaluation", killed)
        Tracker().record_ensemble(ENSEMBLE)
    assert Tracker().record_ensemble(ENSEMBLE)
    assert Store().one("both").info.status == "FINISHED" and Store().current("both")


def test_a_trial_leaves_an_ensemble_that_the_experiment_has(folder: Path) -> None:
    assert Tracker().record_ensemble(ENSEMBLE)
    assert Tracker(trial="wide").record_ensemble(ENSEMBLE)
    assert Store().runs("both (wide)") == [] and Store().current("both")
