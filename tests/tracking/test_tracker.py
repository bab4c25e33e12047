"""MLflow holds a run for each training, whole, and it can be rebuilt from the result folders. Which is current: test_current.py."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import DataError
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.files import read_json
from itrcore.runs.records import History, Point, Run
from itrcore.settings.load import load
from itrcore.spoken import STAMP
from itrcore.terminal import warn
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from itrcore.training.state import StateFolder
from itrcore.training.train import train
from tests.support.killing import Kill
from tests.support.mlflow_store import ENSEMBLE, RESULTS, RUN, Store
from tests.support.tiny_project import rewrite, weights, write_params
from tests.tracking.conftest import retrain


def test_a_training_is_one_run_with_all_that_its_folders_hold(folder: Path) -> None:
    (folder / "dvc.lock").write_text("")  # DVC writes it when the stage is done: nothing of it is true before
    retrain(**{"methods.esa.recipe.evaluations": 2})
    store, described = Store(), read_json(RUN / "run.json")
    run = store.one()
    assert run.info.status == "FINISHED"
    settings = {"data": "tiny", "method": "esa", "seed": "1", "profile": "published"}
    inner = {"model.text.dropout": "0.1", "recipe.schedule.epochs": "[2]", "training.save_every_steps": "4"}
    assert (settings | inner).items() <= run.data.params.items()
    tags = {key: described[key] for key in ("data_digest", "code_version", "features")}
    assert {**tags, "kind": "run"}.items() <= run.data.tags.items() and "dvc_lock" not in run.data.tags
    histories = store.histories(run)
    for record in read_json(RUN / "history.json")["evaluations"]:
        number = record["evaluation"]
        for key, value in {**record["dev"], "rsum": record["dev"]["rsum"]}.items():
            assert (number, value) in histories[f"dev/{key}"]
        assert (number, record["losses"]["total"]) in histories["loss/total"]
        assert (number, record["learning_rate"]) in histories["train/learning_rate"]
        for key in ("image_rank", "text_rank", "i2t_hub", "t2i_hub", "loss"):
            assert (number, record["collapse"][key]) in histories[f"collapse/{key}"]
    assert run.data.tags["collapsed"] == str(record["collapse"]["collapsed"]).lower()
    assert [step for step, _ in histories["dev/rsum"]] == [1, 2, 3, 4, 5, 6]  # MLflow knows no half steps
    assert [epoch for _, epoch in histories["train/epoch"]] == [0.53, 1, 1.53, 2, 2.53, 3]
    measured = read_json(RESULTS / "metrics.json")
    assert run.data.metrics["test/rsum"] == measured["metrics"]["rsum"]
    assert run.data.metrics["time/encode_image_ms"] == measured["encode_image_ms"]
    assert run.data.metrics["train/best_epoch"] == described["best_epoch"]
    assert store.files(run) == [
        *(f"checkpoint/{name}" for name in ("history.json", "model.safetensors", "run.json", "text/vocab.json")),
        *(f"evaluation/{name}" for name in ("metrics.json", "ranks.parquet", "retrieved.json")),
        "log.txt",
    ]
    (copy,) = (folder / "mlartifacts" / "tiny").rglob("model.safetensors")  # of the project, wherever it is called from
    assert copy.read_bytes() == weights(RUN)


def test_two_trainings_of_a_name_are_both_there_and_the_finished_one_is_current_meanwhile(folder: Path) -> None:
    retrain()
    first = Store().one().info.run_id
    during: list[list[str]] = []

    class Watching(LiveTraining):
        def evaluation(self, point: Point) -> None:
            super().evaluation(point)
            during.append([key for key, mark in Store().marks().items() if mark == "true"])

    train(write_params(folder, {"methods.esa.recipe.learning_rate": 1e-3}), "one", Watching(Tracker()))
    assert during == [[first]] * 3  # a training that fails takes nothing away
    second = Store().current()
    assert Store().marks() == {first: "false", second.info.run_id: "true"} and Store().runs(view=2) == []
    rates = {run.info.run_id: run.data.params["recipe.learning_rate"] for run in Store().runs()}
    assert rates == {first: "0.002", second.info.run_id: "0.001"}
    assert {run.info.status for run in Store().runs()} == {"FINISHED"}


def test_a_failed_training_is_marked_and_the_next_one_takes_its_place(folder: Path, monkeypatch: Any) -> None:
    retrain()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="boom"):
        patch.setattr(
            "itrcore.training.loop.Trainer.evaluate_dev", lambda *arguments: (_ for _ in ()).throw(RuntimeError("boom"))
        )
        train(write_params(folder, {"runs.one.seed": 5}), "one", LiveTraining(Tracker()))
    assert sorted(run.info.status for run in Store().runs()) == ["FAILED", "FINISHED"]
    retrain(**{"runs.one.seed": 6})
    assert {run.data.params["seed"]: run.data.tags["current"] for run in Store().runs()} == {"1": "false", "6": "true"}


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
        patch.setattr(LiveTraining, "fail", lambda self: None)  # a killed process reports nothing
        train(load(), "one", LiveTraining(Tracker()))
    run = Store().one()
    assert (run.info.status, [step for step, _ in Store().histories(run)["dev/rsum"]]) == ("RUNNING", [1])
    train(load(), "one", LiveTraining(Tracker()))
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


def once_per_step(store: Store, run: Any) -> bool:
    return all(len(dict(history)) == len(history) for history in store.histories(run).values())


@pytest.mark.parametrize(("folder_of", "name"), [(RESULTS, "one"), (ENSEMBLE, "both")])
def test_what_is_evaluated_again_is_shown_whatever_the_clock_says(
    folder_of: Path, name: str, folder: Path, monkeypatch: Any
) -> None:
    def record() -> Any:
        tracker = Tracker()
        assert tracker.record(RUN, RESULTS) if name == "one" else tracker.record_ensemble(ENSEMBLE)
        return Store().one(name)

    result, first = read_json(folder_of / "metrics.json"), record()
    unchanged, old = first.data.metrics["test/i2t_r1"], result["metrics"]["rsum"]
    for number, rsum in enumerate((123.0, 99.0, old), start=1):
        result["metrics"]["rsum"] = rsum
        rewrite(folder_of / "metrics.json", metrics=result["metrics"])
        monkeypatch.setattr(
            "itrcore.tracking.run_log.time", lambda back=number: 1e9 - back
        )  # years behind, and going back
        run = record()
        assert (run.info.run_id, run.data.metrics["test/rsum"]) == (first.info.run_id, rsum)
        assert run.data.metrics["test/i2t_r1"] == unchanged and once_per_step(Store(), run)
    assert Store().histories(run)["test/rsum"] == [(0, old), (1, 123.0), (2, 99.0), (3, old)]
    assert Store().histories(run)["test/i2t_r1"] == [(0, unchanged)]


def test_a_training_that_went_on_from_an_older_state_than_it_had_logged_has_each_evaluation_once_as_it_is(
    folder: Path, monkeypatch: Any
) -> None:
    tracker = Tracker()
    described = Run.model_validate_json((RUN / "run.json").read_bytes())
    points = History.model_validate_json((RUN / "history.json").read_bytes()).evaluations
    log = tracker.open(described, None)
    assert log is not None
    slower = points[1].model_copy(update={"pairs_per_second": 1.0})
    log.evaluations([points[0], slower])
    monkeypatch.setattr("itrcore.tracking.run_log.time", lambda: 1e9)
    log = tracker.open(described, log.run_id)  # it goes on, the clock behind
    assert log is not None
    log.evaluations(points)
    tracker.finish(log, RUN)
    run = Store().one()
    speeds = [(point.evaluation, point.pairs_per_second) for point in points]
    assert Store().histories(run)["train/pairs_per_second"] == speeds and once_per_step(Store(), run)


def test_a_collapse_is_a_tag_as_of_the_last_evaluation_and_earlier_records_have_none(folder: Path) -> None:
    described = Run.model_validate_json((RUN / "run.json").read_bytes())
    points = History.model_validate_json((RUN / "history.json").read_bytes()).evaluations
    log = Tracker().open(described, None)
    assert log is not None and points[0].collapse is not None
    fine, bad = (
        point.model_copy(update={"collapse": points[0].collapse.model_copy(update={"collapsed": collapsed})})
        for point, collapsed in zip(points, (False, True), strict=False)
    )
    bad = bad.model_copy(
        update={"inner": {"clusters_used": 3.5}, "chosen": {"alpha": 0.45}}
    )  # of a method that has some
    old = points[0].model_copy(update={"collapse": None})
    seen = []
    for course in (
        [old],
        [old, bad],
        [fine, bad],
        [fine, bad, points[2].model_copy(update={"collapse": fine.collapse})],
    ):
        log.evaluations(course)
        seen.append(Store().one().data.tags.get("collapsed"))
    assert seen == [None, "true", "true", "false"]
    histories = Store().histories(Store().one())
    assert [step for step, _ in histories["collapse/loss"]] == [2, 3]
    assert (histories["inner/clusters_used"], histories["chosen/alpha"]) == ([(2, 3.5)], [(2, 0.45)])
    log.training(described.model_copy(update={"chosen": {"alpha": 0.45}}), course, RUN)
    assert Store().one().data.metrics["train/best_alpha"] == 0.45


def test_an_ensemble_is_a_run_with_its_members_as_parameters_and_the_report_goes_where_the_result_is(
    folder: Path,
) -> None:
    tracker = Tracker()
    assert tracker.record_ensemble(ENSEMBLE)
    run = Store().one("both")
    assert run.info.status == "FINISHED"
    assert {"kind": "ensemble", "family": "esa_bigru+vse_infty_bigru"}.items() <= run.data.tags.items()
    found = read_json(ENSEMBLE / "metrics.json")
    params = {"data": "tiny", "method": "ensemble", "members": "one, two", "n_members": "2"}
    params |= {"weights": "equal", "scale": "none"}
    assert run.data.params == {**params, "parameters": str(found["parameters"])}
    assert run.data.metrics["test/rsum"] == found["metrics"]["rsum"]
    assert tracker.record_ensemble(ENSEMBLE)
    assert Store().one("both").info.end_time == run.info.end_time  # recording it again makes it no longer
    rewrite(ENSEMBLE / "metrics.json", protocols={"coco_1k": {"rsum": 512.5}})
    assert tracker.record_ensemble(ENSEMBLE)
    assert Store().one("both").data.metrics["coco_1k/rsum"] == 512.5
    Path("page.html").write_text("page")
    assert tracker.attach_report("tiny", "both", {Path("page.html"): "tiny"})
    assert "report/tiny/page.html" in Store().files(Store().one("both"))
    assert tracker.attach_report("tiny", "nobody", {Path("page.html"): "tiny"})


def test_a_transfer_is_a_run_of_its_own_that_says_what_it_was_trained_on(folder: Path) -> None:
    moved = RESULTS.with_name("moved")
    shutil.copytree(RESULTS, moved)
    rewrite(moved / "metrics.json", name="moved", trained_on="far", weights_of="far-1", dev_rsum=None)
    assert Tracker().record_transfer(moved) and Tracker().record_transfer(moved)
    run = Store().one("moved")
    assert {"kind": "transfer", "trained_on": "far", "current": "true"}.items() <= run.data.tags.items()
    assert {
        "data": "tiny",
        "method": "esa",
        "trained_on": "far",
        "weights_of": "far-1",
    }.items() <= run.data.params.items()
    assert run.data.metrics["test/rsum"] == read_json(RESULTS / "metrics.json")["metrics"]["rsum"]
    assert Tracker().record(RUN, RESULTS) and Store().current("moved").info.run_id == run.info.run_id


def test_each_experiment_has_its_own_experiments_in_the_one_store(folder: Path) -> None:
    assert Tracker(folder, "f30k").record(RUN, RESULTS)
    assert Tracker(folder).record(Path("runs/tiny/two"), Path("results/tiny/two"))
    held = {experiment.name: experiment.experiment_id for experiment in Store().client.search_experiments()}
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
    train(load(), "one", LiveTraining(trial))
    evaluate(load(), "one")
    judge(load(), "one")
    assert trial.record(RUN, RESULTS)
    assert Store().one("one (wide)").data.params["seed"] == "5"
    assert Store().content() == before


@pytest.mark.parametrize(
    "path", [RUN / "model.safetensors", RUN / "run.json", RESULTS / "ranks.parquet", RESULTS / "retrieved.json"]
)
def test_damaged_results_are_refused_and_mlflow_keeps_the_whole_ones(path: Path, folder: Path) -> None:
    assert Tracker().record(RUN, RESULTS)
    before = Store().content()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=rf"{path.name}: this file is damaged.*itr heal"):
        Tracker().record(RUN, RESULTS)
    assert Store().content() == before


LOG = Path("state/tiny/one/log.txt")


def parts(path: Path = LOG) -> list[tuple[str, str]]:
    """Level and text of each line, all of which are of this run."""
    found = [re.fullmatch(rf"{STAMP.pattern}(.*)", line) for line in path.read_text("utf-8").splitlines()]
    assert all(each is not None and each[2] == "train@one" for each in found), path.read_text("utf-8")
    return [(each[1], each[3]) for each in found if each is not None]


def test_attempts_follow_each_other_and_mlflow_has_the_log_when_it_fails_and_when_it_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", "marked-secret")
    params = write_params(
        folder, {"methods.esa.recipe.learning_rate": 1e-3}
    )  # another training than the one that is there
    monkeypatch.setattr("itrcore.spoken._who", "train@one")  # as `run_stage` says
    kill = Kill(monkeypatch)
    kill.after(1, folder)
    before = parts()
    assert before[0] == ("INFO", "Training on cpu in float32: 3 epochs of 15 steps, 8 pairs a step.")

    def stop(point: Point) -> None:
        warn(f"with marked-secret in {folder}/data")
        raise DataError.at(folder / "data", "gone", "it")

    watched = LiveTraining(Tracker.of(params))
    monkeypatch.setattr(watched, "evaluation", stop)
    with pytest.raises(DataError):
        train(params, "one", watched)
    *lines, warning, error = parts()
    assert lines[: len(before)] == before and any(line.startswith("Going on at epoch 1, step ") for _, line in lines)
    assert warning == ("WARNING", "warning: with … in ./data") and error == ("ERROR", "./data: gone; expected it.")
    failed = Store().one()
    assert failed.info.status == "FAILED" and Store().read(failed, "log.txt") == LOG.read_bytes()
    train(params, "one", LiveTraining(Tracker.of(params)))
    assert parts()[: len(lines) + 2] == [*lines, warning, error]
    assert [line for _, line in parts() if line.startswith("epoch    3  loss ")]
    run = Store().current("one")
    assert run.info.status == "FINISHED" and Store().read(run, "log.txt") == LOG.read_bytes()
