"""The real pipeline on a tiny world: `dvc repro`, caching, a changed learning rate, MLflow, the report."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.project import Project, tiny_params

pytestmark = pytest.mark.slow

TRAININGS = ("scenes-vse_pp_bigru-1", "scenes-esa_bigru-1")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("pipeline"))
    made.write_params(tiny_params(made.params))
    made.repro()
    return made


def test_everything_is_made(project: Project) -> None:
    for name in TRAININGS:
        assert (project.folder / "runs" / "scenes" / name / "model.safetensors").is_file()
        result = json.loads((project.folder / "evaluations" / "scenes" / name / "metrics.json").read_text("utf-8"))
        assert (result["split"], result["selected_on"], result["features"]) == ("test", "dev", "synthetic")
    board = json.loads((project.folder / "leaderboard.json").read_text("utf-8"))
    assert set(board["scenes"]) == {"vse_pp_bigru/small", "esa_bigru/small", "both"}
    assert (project.folder / "report" / "index.html").is_file()
    assert not list((project.folder / "state").rglob("*.safetensors"))  # nothing left over of finished trainings


def test_a_second_run_does_nothing(project: Project) -> None:
    assert "Running stage" not in project.repro().stdout


def test_mlflow_has_one_active_run_per_name_with_its_report(project: Project) -> None:
    runs = _active_runs(project)
    assert sorted(runs) == sorted([*TRAININGS, "both"])
    for name in TRAININGS:
        (artifacts,) = (project.folder / "mlartifacts" / "scenes").glob(f"{runs[name]}/artifacts")
        assert (artifacts / "checkpoint" / "model.safetensors").is_file()
        assert (artifacts / "evaluation" / "similarity.npy").is_file()
        assert (artifacts / "report" / "runs" / f"{name}.html").is_file()
        assert (artifacts / "report" / "style.css").is_file()


def test_a_learning_rate_retrains_its_method_alone_and_going_back_restores(project: Project) -> None:
    before = {name: _weights(project, name) for name in TRAININGS}
    board = (project.folder / "leaderboard.json").read_text("utf-8")
    runs = _active_runs(project)
    params = project.params
    params["methods"]["esa_bigru"]["recipe"]["learning_rate"] = 0.003
    project.write_params(params)
    out = project.repro().stdout
    ran = {line.split("'")[1] for line in out.splitlines() if line.startswith("Running stage")}
    assert ran == {"train@scenes-esa_bigru-1", "evaluate@scenes-esa_bigru-1", "ensemble@both", "report"}
    assert _weights(project, TRAININGS[0]) == before[TRAININGS[0]]
    assert _weights(project, TRAININGS[1]) != before[TRAININGS[1]]
    assert (project.folder / "leaderboard.json").read_text("utf-8") != board
    changed = _active_runs(project)
    assert changed[TRAININGS[0]] == runs[TRAININGS[0]]
    assert changed[TRAININGS[1]] != runs[TRAININGS[1]]  # superseded: still one of that name

    params["methods"]["esa_bigru"]["recipe"]["learning_rate"] = 0.0005
    project.write_params(params)
    assert "is cached - skipping run" in project.repro().stdout
    assert _weights(project, TRAININGS[1]) == before[TRAININGS[1]]
    project.run(sys.executable, "-m", "itrcore.cli", "track")
    assert _active_runs(project)[TRAININGS[1]] == runs[TRAININGS[1]]  # brought back, not made a second time


def test_a_failing_stage_says_why_in_one_line_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    params = project.params
    broken = json.loads(json.dumps(params))
    broken["methods"]["esa_bigru"]["recipe"]["learning_rat"] = 0.1
    project.write_params(broken)
    try:
        done = project.repro("--single-item", "--force", "train@scenes-esa_bigru-1", check=False)
        assert done.returncode != 0
        assert "methods.esa_bigru.recipe: unknown key 'learning_rat'; did you mean 'learning_rate'?" in done.stdout
        assert "Traceback" not in done.stdout
    finally:
        project.write_params(params)


def _weights(project: Project, name: str) -> bytes:
    return (project.folder / "runs" / "scenes" / name / "model.safetensors").read_bytes()


def _active_runs(project: Project) -> dict[str, str]:
    """Name → run id of MLflow's active runs; a name that comes twice fails."""
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        rows = store.execute("select name, run_uuid from runs where lifecycle_stage = 'active'").fetchall()
    assert len({name for name, _ in rows}) == len(rows), rows
    return dict(rows)
