"""The real pipeline on a tiny world: `dvc repro`, what makes a stage run again, MLflow, the report, an imported run, `dvc exp`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrcore.files import read_json
from tests.support.project import ROOT, Project, tiny_params
from tests.support.scores import similarities
from tests.support.stamps import unstamped
from tests.support.traces import traces, traces_in_store

pytestmark = pytest.mark.slow

TRAININGS = ("scenes-esa_bigru-1", "scenes-lhsc_bigru-1", "scenes-esa_bert-1")
OF_BIGRU = TRAININGS[:2]
# Of whoever runs it; nothing of it belongs into what the pipeline makes.
MARKED = {
    "USER": "marked-user",
    "LOGNAME": "marked-user",
    "SERVICE_TOKEN": "marked-token",
    "AWS_SECRET_ACCESS_KEY": "marked-key",
    "DATABASE_URL": "postgresql://someone:marked-password@db.example/x",
}


def params_of(project: Project) -> dict[str, Any]:
    params = tiny_params(project.params)
    params["datasets"]["scenes"]["vocabulary"]["word_pieces"]["pieces"] = 200
    recipe = {"batch_size": 20, "epochs": 2, "schedule": {"epochs": [1]}}
    shape = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 32}
    bert = {"weights": "random", "shape": shape}
    params["profiles"] |= {
        "lhsc": {"model": {"dim": 16, "alignment_dim": 8, "layers": 1, "text": {"word_dim": 8}}, "recipe": recipe},
        "bert": {"model": {"dim": 16, "text": bert}, "recipe": recipe},
    }
    profiles = {"esa_bigru": "small", "lhsc_bigru": "lhsc", "esa_bert": "bert"}
    params["runs"] = {
        f"scenes-{method}-1": {"data": "scenes", "method": method, "seed": 1, "profile": profile}
        for method, profile in profiles.items()
    }
    params["ensembles"] = {"both": {"data": "scenes", "runs": ["scenes-esa_bigru-1", "scenes-esa_bert-1"]}}
    return params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("pipeline"), warm=True)
    project.variables |= MARKED
    project.write_params(params_of(project))
    project.repro()
    project.commit()
    return project


def test_everything_is_made(project: Project) -> None:
    for name in TRAININGS:
        assert (project.folder / "runs" / "scenes" / name / "model.safetensors").is_file()
        result = json.loads((project.folder / "results" / "scenes" / name / "metrics.json").read_text("utf-8"))
        assert (result["split"], result["selected_on"], result["features"]) == ("test", "dev", "synthetic")
    board = json.loads((project.folder / "report" / "leaderboard.json").read_text("utf-8"))
    assert set(board["scenes"]) == {"esa_bigru/small", "lhsc_bigru/lhsc", "esa_bert/bert", "both"}
    assert (project.folder / "report" / "index.html").is_file()
    assert not list((project.folder / "state").rglob("*.safetensors"))  # nothing left over of finished trainings


def test_nothing_that_is_made_says_where_or_by_whom_and_no_secret(project: Project) -> None:
    here = [str(project.folder), str(ROOT), sys.prefix, f"{Path.home()}/", f"{tempfile.gettempdir()}/"]
    words = [*here, "marked-", *[socket.gethostname()] * (len(socket.gethostname()) > 5)]
    made = ("data", "inputs", "runs", "curves", "evaluations", "results", "metrics", "report", "mlartifacts", "state")
    assert [trace for name in made for trace in traces(project.folder / name, words)] == []
    assert traces_in_store(project.folder / "mlflow.db", words) == []
    logs = list((project.folder / "mlartifacts").rglob("log.txt"))
    assert len(logs) == len(TRAININGS) and all("INFO train@scenes-" in log.read_text("utf-8") for log in logs)


def test_a_second_run_does_nothing(project: Project) -> None:
    assert "Running stage" not in project.repro().stdout


COMMENTS = {  # file → text, what it becomes
    "itrcore/methods/sgraf/lhsc.py": ('"""LHSC', '"""Of LHSC'),
    "itrcore/layers/losses/triplet.py": ("\n\n\ndef ", "\n\n\n# A comment.\n\n\ndef "),
    "itrcore/evaluation/judging.py": ("import layout\n", "import (\n    layout,\n)\n"),
    "stages/raw.py": ('"""Stage', '"""The stage'),
    "recipes/lhsc_bigru.yaml": ("# LHSC", "# The recipe of LHSC"),
}
NEW = {  # new files: nothing that is there reads them
    "itrcore/methods/added/__init__.py": "",
    "itrcore/methods/added/added.py": "VALUE = 1\n",
    "itrcore/protocols/added.py": "VALUE = 1\n",
    "recipes/added.yaml": None,  # a copy of another one
}


def test_what_decides_nothing_runs_nothing_again_but_the_report_that_shows_it(project: Project) -> None:
    with project.changed():
        for path, (old, new) in COMMENTS.items():
            project.replace(path, old, new)
        for path, text in NEW.items():
            copied = (project.folder / "recipes" / "lhsc_bigru.yaml").read_text("utf-8")
            (project.folder / path).parent.mkdir(exist_ok=True)
            (project.folder / path).write_text(copied if text is None else text, "utf-8")
        line = '"added": ("itrcore.methods.added.settings:AddedSettings", "itrcore.methods.added.added:Added"),'
        project.replace("itrcore/registry.py", "METHODS = {", f"METHODS = {{\n    {line}")
        # No run has this loss.
        project.replace("itrcore/layers/losses/symmetric.py", "class Symmetric", "NEW = 1\n\n\nclass Symmetric")
        assert project.stale() == set()
        params = project.params
        params["datasets"]["other"] = params["datasets"]["scenes"]
        params["transfers"] = {"there": {"run": next(iter(params["runs"])), "trained_on": "scenes", "data": "other"}}
        params["training"]["save_every_steps"] += 1
        params["report"]["title"] = "another"
        project.write_params(params)
        project.replace("itrcore/tracking/tracker.py", "class Tracker", "NEW = 1\n\n\nclass Tracker")
        project.replace("itrcore/report/templates/style.css", "body", "body , body")
        transfer = {"transfer_inputs@there", "transfer@there", "transfer_judge@there"}
        assert {stage for stage in project.stale() if not stage.endswith("@other")} == {"report", *transfer}


def test_code_of_one_method_runs_its_runs_again(project: Project) -> None:
    with project.changed():
        project.replace("itrcore/methods/sgraf/lhsc.py", "class LHSC", "NEW = 1\n\n\nclass LHSC")
        assert project.stale() == {"train@scenes-lhsc_bigru-1", "evaluate@scenes-lhsc_bigru-1"}
        output = project.run(project.python, "-m", "itrcore.cli", "why", "scenes-lhsc_bigru-1").stdout
        assert "train: itrcore/methods/sgraf/lhsc.py has changed" in output


def test_code_of_a_loss_trains_the_runs_that_have_it_again(project: Project) -> None:
    with project.changed():
        project.replace("itrcore/layers/losses/triplet.py", "class Hinge", "NEW = 1\n\n\nclass Hinge")
        assert project.stale() == {f"train@{name}" for name in TRAININGS}


def test_a_renamed_run_is_not_trained_again(project: Project) -> None:
    old, new = "scenes-lhsc_bigru-1", "renamed"
    runs, curves = project.folder / "runs/scenes", project.folder / "curves"
    with project.changed():
        params = project.params
        params["runs"][new] = params["runs"].pop(old)
        project.write_params(params)
        output = project.repro(f"train@{new}").stdout
        assert f"Done already as runs/scenes/{old}, and taken over." in output
        assert (runs / new / "model.safetensors").read_bytes() == (runs / old / "model.safetensors").read_bytes()
        assert "Running stage" not in project.repro(f"train@{new}").stdout
        shutil.rmtree(runs / new)
        (curves / f"{new}.csv").unlink()
    project.run(project.python, "-m", "itrcore.cli", "track")  # MLflow's current runs are those of the old names again


def test_what_judges_and_what_the_report_shows_score_and_train_nothing_again(project: Project) -> None:
    judged = {*(f"judge@{name}" for name in TRAININGS), "ensemble@both"}
    with project.changed():
        params = project.params
        params["evaluation"]["queries"] += 2
        project.write_params(params)
        assert project.stale() == judged
    for path in ("retrieved", "results"):
        with project.changed():
            project.replace(f"itrcore/protocols/{path}.py", "\n\n\ndef ", "\n\nNEW = 1\n\n\ndef ")
            assert project.stale() - {"report"} == judged
    with project.changed():
        shutil.copyfile(ROOT / "tests/support/halves.py", project.folder / "itrcore/protocols/halves.py")
        line = '"halves": Listed("itrcore.protocols.halves:PROTOCOL"),'
        project.replace("itrcore/registry.py", "PROTOCOLS = {", f"PROTOCOLS = {{\n    {line}")
        params = project.params
        params["datasets"]["scenes"]["protocols"] = ["halves"]
        project.write_params(params)
        assert project.stale() == {*judged, "report"}


def test_word_pieces_run_what_reads_word_pieces_again(project: Project) -> None:
    with project.changed():
        params = project.params
        params["datasets"]["scenes"]["vocabulary"]["word_pieces"]["pieces"] = 150
        project.write_params(params)
        project.repro("inputs@scenes")
        assert project.stale() == {"train@scenes-esa_bert-1", "report"}  # the report shows the data sets' settings


def test_a_recipe_runs_its_runs_again_and_no_stage_takes_a_record_that_is_not_of_today(project: Project) -> None:
    with project.changed():
        project.replace("recipes/lhsc_bigru.yaml", "learning_rate: 2.0e-4", "learning_rate: 3.0e-4")
        refused = project.run(project.python, "-m", "stages.train", "scenes-lhsc_bigru-1", check=False)
        reason = "(recipe.learning_rate was 0.0002 and is 0.0003). Run: dvc repro train@scenes-lhsc_bigru-1"
        assert refused.returncode == 1 and reason in refused.stdout
        assert project.stale() == {"train@scenes-lhsc_bigru-1"}
        output = project.run(project.python, "-m", "itrcore.cli", "why", "scenes-lhsc_bigru-1").stdout
        assert "train: recipe.learning_rate was 0.0002 and is 0.0003" in output
        # Who knows better keeps the weights.
        project.dvc("commit", "-f", "train@scenes-lhsc_bigru-1")
        assert project.stale() == set()


def test_mlflow_has_one_current_run_per_name_with_its_report(project: Project) -> None:
    runs = _current_runs(project)
    assert sorted(runs) == sorted([*TRAININGS, "both"])
    for name in OF_BIGRU:
        (artifacts,) = (project.folder / "mlartifacts" / "scenes").glob(f"{runs[name]}/artifacts")
        assert (artifacts / "checkpoint" / "model.safetensors").is_file()
        assert (artifacts / "evaluation" / "metrics.json").is_file()
        assert (artifacts / "report" / "runs" / f"{name}.html").is_file()
        assert (artifacts / "report" / "style.css").is_file()


def test_a_changed_method_is_trained_anew_in_mlflow_too_and_going_back_restores(project: Project) -> None:
    weights, board, runs = _weights(project), _board(project), _current_runs(project)
    name = "scenes-esa_bigru-1"
    project.replace("recipes/esa_bigru.yaml", "learning_rate: 5.0e-4", "learning_rate: 3.0e-3")
    assert _ran(project.repro().stdout) - {"inputs@scenes", "members@both"} == {
        f"train@{name}",
        f"evaluate@{name}",
        f"judge@{name}",
        "ensemble@both",
        "report",
    }
    changed = _weights(project)
    assert {run for run in TRAININGS if changed[run] != weights[run]} == {name}
    assert _board(project) != board
    current = _current_runs(project)
    assert {run for run in runs if current[run] != runs[run]} == {name, "both"}
    project.replace("recipes/esa_bigru.yaml", "learning_rate: 3.0e-3", "learning_rate: 5.0e-4")
    # Restored from DVC's cache but for the report, which brings MLflow up to date.
    assert _ran(project.repro().stdout) == {"report"}
    assert (_weights(project), _board(project)) == (weights, board)
    assert _current_runs(project) == runs  # current again, not made a second time


def test_trials_of_a_learning_rate_side_by_side(project: Project) -> None:
    name, key = "scenes-esa_bigru-1", "recipes/esa_bigru.yaml:recipe.learning_rate"
    file = f"metrics/{name}.json"
    runs = _current_runs(project)
    trial = project.dvc("exp", "run", "--temp", "--name", "trial", "-S", f"{key}=0.004")
    assert _ran(trial) >= {f"train@{name}", f"evaluate@{name}", f"judge@{name}", "ensemble@both", "report"}
    assert not any(f"train@{other}" in _ran(trial) for other in TRAININGS if other != name)
    shown = list(csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv", "--hide-workspace"))))
    before, after = shown
    assert (before[key], after[key]) == ("0.0005", "0.004")
    rsum = f"{file}:test/rsum"
    assert all(float(row[f"{file}:{metric}"]) > 0 for row in shown for metric in ("test/rsum", "dev/rsum"))
    differences = json.loads(project.dvc("metrics", "diff", "--all", "--json", "HEAD", "trial"))
    assert differences[file]["test/rsum"]["new"] == float(after[rsum])
    table = project.dvc("metrics", "show", "--md").splitlines()
    assert len(table[0].split("|")) == 5 and len([line for line in table if "metrics/" in line]) == len(TRAININGS) + 1
    project.dvc("plots", "show")
    page = (project.folder / "dvc_plots" / "index.html").read_text("utf-8")
    assert all(name in page for name in TRAININGS)
    # MLflow has the trial beside the others, and nothing twice.
    now = _current_runs(project)
    assert set(now) - set(runs) == {f"{name} (trial)", "both (trial)"} and {key: now[key] for key in runs} == runs
    # Applied, its runs are the current ones of their names.
    with project.changed():
        project.dvc("exp", "apply", "trial")
        project.run(project.python, "-m", "itrcore.cli", "track")
        applied = {name: now[f"{name} (trial)"], "both": now["both (trial)"]}
        assert _current_runs(project) == {**runs, **applied}
    project.run(project.python, "-m", "itrcore.cli", "track")
    assert _current_runs(project) == runs
    project.dvc("exp", "remove", "trial")


def test_an_imported_run_goes_through_the_pipeline_like_any_other(project: Project) -> None:
    params = project.params
    cli = [project.python, "-m", "itrcore.cli"]
    name, imported = "scenes-esa_bigru-1", "scenes-esa_bigru-released"
    project.run(*cli, "export", "--run", name, "--out", "out/model_best.pth")
    options = {"method": "esa", "text": "bigru", "dataset": "scenes", "checkpoint": "out/model_best.pth"}
    given = [part for key, value in options.items() for part in (f"--{key}", value)]
    command = [*cli, "import", *given, "--json"]
    done = subprocess.run(command, cwd=project.folder, env=project.environment(), capture_output=True, text=True)
    assert f"{imported}: test rsum" in done.stderr and "Running stage" in done.stderr, done.stderr  # what DVC says
    figures = read_json(project.folder / "results" / "scenes" / imported / "metrics.json")["metrics"]
    assert json.loads(done.stdout) == {"run": imported, "metrics": figures}
    trained, read = (similarities(run, data="scenes", root=project.folder) for run in (name, imported))
    np.testing.assert_array_equal(trained, read)
    changed = project.params
    changed["ensembles"] |= {"imported-too": {"data": "scenes", "runs": [name, imported]}}
    project.write_params(changed)
    again = _ran(project.repro().stdout)
    assert "ensemble@imported-too" in again and "ensemble@both" not in again  # whose members are the same
    assert {imported, "both", "imported-too"} < set(_board(project))
    assert (project.folder / "report" / "runs" / f"{imported}.html").is_file()
    project.dvc("plots", "show")  # it has no curve
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        tags = dict(
            store.execute(
                "select key, value from tags where run_uuid = ?", (_current_runs(project)[imported],)
            ).fetchall()
        )
    assert (tags["origin"], tags["family"]) == ("imported", "esa_bigru")
    assert "Running stage" not in project.repro().stdout
    project.write_params(params)


def test_another_checkout_trains_and_scores_nothing_that_was_pushed_or_logged(project: Project, tmp_path: Path) -> None:
    first, *rest = TRAININGS
    for options in (
        ["remote", "add", "--local", "lab", str(tmp_path / "remote")],
        ["push", "--run-cache", "-r", "lab"],
    ):
        project.dvc(*options)
    other = Project(tmp_path / "other", warm=True)
    other.write_params(project.params)
    other.dvc("remote", "add", "lab", str(tmp_path / "remote"))
    itr = [other.python, "-m", "itrcore.cli"]
    output = other.run(*itr, "pull", first, "--remote", "lab").stdout
    assert f"judge@{first}" in _ran(output) and not any(
        stage.startswith(("train", "evaluate")) for stage in _ran(output)
    )
    other.dvc("remote", "default", "lab")
    other.dvc("fetch", "--run-cache")
    ran = _ran(other.repro("--pull", *(f"judge@{name}" for name in rest)).stdout)
    assert not any(stage.startswith(("train", "evaluate")) for stage in ran)
    params = other.params
    params["runs"]["more"] = {**params["runs"][first], "seed": 2}
    other.write_params(params)
    done = other.run(*itr, "pull", "more", check=False)
    assert (
        done.returncode == 1 and "train@more: the remote has no training by the code, settings and data" in done.stdout
    )
    assert not (other.folder / "runs/scenes/more").exists()
    del params["runs"]["more"]
    other.write_params(params)
    source = f"mlflow:scenes/{first}"
    store = f"sqlite:///{project.folder / 'mlflow.db'}"
    ran = _ran(other.run(*itr, "pull", "theirs", "--from", source, "--store", store).stdout)
    assert {"train@theirs", "evaluate@theirs"} <= ran  # which only copies
    figures = [_metrics(project, first), *(_metrics(other, name) for name in (first, "theirs"))]
    assert figures[0] == figures[1] == figures[2]
    project.dvc("remote", "remove", "--local", "lab")


def test_a_failing_stage_says_why_in_one_line_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    with project.changed():
        project.replace("recipes/esa_bigru.yaml", "learning_rate:", "learning_rat:")
        done = project.repro("--single-item", "--force", "train@scenes-esa_bigru-1", check=False)
        assert done.returncode != 0
        assert (
            "recipes/esa_bigru.yaml: recipe: unknown key 'learning_rat'; did you mean 'learning_rate'?" in done.stdout
        )
        assert "Traceback" not in done.stdout


def _metrics(project: Project, run: str) -> Any:
    return json.loads((project.folder / "results/scenes" / run / "metrics.json").read_text("utf-8"))["metrics"]


def _ran(output: str) -> set[str]:
    """The stages that `dvc repro` ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def _weights(project: Project) -> dict[str, bytes]:
    runs = project.folder / "runs" / "scenes"
    return {name: (runs / name / "model.safetensors").read_bytes() for name in TRAININGS}


def _board(project: Project) -> Any:
    return json.loads((project.folder / "report" / "leaderboard.json").read_text("utf-8"))["scenes"]


def _current_runs(project: Project) -> dict[str, str]:
    """Name → run id of MLflow's current runs; a name that comes twice fails, and so does a result that it holds twice."""
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        of_active = "from tags join runs using (run_uuid) where lifecycle_stage = 'active' and key ="
        rows = store.execute(f"select name, run_uuid {of_active} 'current' and value = 'true'").fetchall()
        results = store.execute(f"select value {of_active} 'itr.result'").fetchall()
    assert len(set(results)) == len(results)
    assert len({name for name, _ in rows}) == len(rows), rows
    return dict(rows)


def rot(path: Path) -> None:
    """Flip a bit as a failing disk does: size and time stay, so that DVC notices nothing."""
    status = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_damage_in_dvcs_cache_is_refused_and_healed(project: Project) -> None:
    name = OF_BIGRU[0]
    path = project.folder / "runs" / "scenes" / name / "model.safetensors"
    whole = path.read_bytes()
    md5 = hashlib.md5(whole, usedforsecurity=False).hexdigest()
    cached = project.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    with project.changed():
        path.unlink()
        rot(cached)
        assert "skipping run" in project.repro(f"train@{name}").stdout  # DVC takes it for whole
        assert path.read_bytes() != whole
        refused = project.run(project.python, "-m", "stages.evaluate", name, check=False)
        assert refused.returncode == 1 and f"{path.name}: this file is damaged" in refused.stdout
        assert "Run: itr heal, then: dvc repro" in refused.stdout and "Traceback" not in refused.stdout
        healed = project.run(project.python, "-m", "itrcore.cli", "heal").stdout
        assert f"removed {path.relative_to(project.folder)}" in healed and "\n2 damaged files." in healed
        project.repro(f"evaluate@{name}")
        assert path.read_bytes() == cached.read_bytes() == whole
        assert project.run(project.python, "-m", "itrcore.cli", "heal").stdout == "0 damaged files.\n"


def test_an_edit_of_an_output_does_not_reach_the_cache(project: Project) -> None:
    with project.changed():
        path = project.folder / "runs" / "scenes" / OF_BIGRU[0] / "model.safetensors"
        path.unlink()
        project.dvc("checkout", "--quiet")
        whole = path.read_bytes()
        with open(path, "r+b") as file:
            file.write(b"edited")
        project.dvc("checkout", "--quiet", "--force")
        assert path.read_bytes() == whole


def test_a_finished_training_that_dvc_did_not_record_is_kept_and_written_out_again(project: Project) -> None:
    name = OF_BIGRU[0]
    run, state = project.folder / "runs" / "scenes" / name, project.folder / "state" / "scenes" / name
    with project.changed():
        project.replace(f"recipes/{name.split('-')[1]}.yaml", "learning_rate: ", "learning_rate: 1")
        project.repro("-s", "code", "inputs@scenes")
        assert "epoch    2" in project.run(project.python, "-m", "stages.train", name).stdout  # DVC knows nothing of it
        whole = (run / "model.safetensors").read_bytes()
        output = unstamped(project.repro().stdout)
        assert f"> python -m stages.train {name}\nDone already, and written out again." in output
        assert (run / "model.safetensors").read_bytes() == whole
        assert not state.exists()  # the report has cleared what DVC has recorded
