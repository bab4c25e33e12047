"""The real pipeline on a tiny world: `dvc repro`, caching, a changed learning rate, MLflow, the report, an imported run."""

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
    assert _ran(project.repro().stdout) == {
        "train@scenes-esa_bigru-1",
        "evaluate@scenes-esa_bigru-1",
        "ensemble@both",
        "report",
    }
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


def test_an_imported_run_goes_through_the_pipeline_like_any_other(project: Project) -> None:
    params = project.params
    cli = [sys.executable, "-m", "itrcore.cli"]
    name, imported = "scenes-esa_bigru-1", "scenes-esa_bigru-released"
    project.run(*cli, "export", "--run", name, "--out", "out/model_best.pth")
    options = {"method": "esa", "text": "bigru", "dataset": "scenes", "checkpoint": "out/model_best.pth"}
    out = project.run(*cli, "import", *(part for key, value in options.items() for part in (f"--{key}", value))).stdout
    assert f"{imported}: test rsum" in out and out.splitlines()[-1].startswith("Next: itr leaderboard")
    evaluations = project.folder / "evaluations" / "scenes"
    matrices = [(evaluations / run / "similarity.npy").read_bytes() for run in (name, imported)]
    assert matrices[0] == matrices[1]
    changed = project.params
    changed["ensembles"] |= {"imported-too": {"data": "scenes", "runs": [name, imported]}}
    project.write_params(changed)
    again = project.repro().stdout
    # An ensemble depends on all evaluations of its data set.
    assert _ran(again) == {"ensemble@both", "ensemble@imported-too", "report"}
    board = json.loads((project.folder / "leaderboard.json").read_text("utf-8"))["scenes"]
    assert set(board) == {"vse_pp_bigru/small", "esa_bigru/small", imported, "both", "imported-too"}
    assert (project.folder / "report" / "runs" / f"{imported}.html").is_file()
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        tags = dict(
            store.execute(
                "select key, value from tags where run_uuid = ?", (_active_runs(project)[imported],)
            ).fetchall()
        )
    assert (tags["origin"], tags["family"]) == ("imported", "esa_bigru")
    assert "Running stage" not in project.repro().stdout
    project.write_params(params)


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


def _ran(output: str) -> set[str]:
    """The stages that `dvc repro` ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def _weights(project: Project, name: str) -> bytes:
    return (project.folder / "runs" / "scenes" / name / "model.safetensors").read_bytes()


def _active_runs(project: Project) -> dict[str, str]:
    """Name → run id of MLflow's active runs; a name that comes twice fails."""
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        rows = store.execute("select name, run_uuid from runs where lifecycle_stage = 'active'").fetchall()
    assert len({name for name, _ in rows}) == len(rows), rows
    return dict(rows)
