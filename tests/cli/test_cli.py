"""`itr` and the stages on the command line: readable in a narrow terminal, one line for an error, never a traceback."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itrcore import __version__
from itrcore.cli.app import app
from itrcore.evaluation.ensemble import evaluate_ensemble
from itrcore.evaluation.evaluate import evaluate
from itrcore.evaluation.judging import judge
from itrcore.provenance import code_version
from itrcore.settings.load import load
from itrcore.spoken import STAMP
from itrcore.tracking.tracker import Tracker
from stages import run_stage
from tests.support.report_data import evaluation, put_ensemble, put_run
from tests.support.stamps import unstamped
from tests.support.tiny_project import PARAMS, ROOT, project, train_in, write_params

LONG = "coco_with_a_long_name-vse_infty_bert_with_a_long_name-another_profile-12345"


def itr(*arguments: str, columns: int = 80) -> Any:
    """Run `itr` as in a terminal of this many columns."""
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, list(arguments))


def test_the_version_is_that_of_the_code_wherever_it_is_asked_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)  # a repository of the user's own
    result = itr("--version")
    assert (result.exit_code, result.output) == (0, f"itr {__version__}, code version {code_version(ROOT)}\n")
    assert itr("--version", "leaderboard").output == result.output  # nothing else is done


@pytest.mark.parametrize("columns", [80, 40, 200])
def test_check_shows_every_name_whole_whatever_the_width(columns: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    runs = {**PARAMS["runs"], LONG: {**PARAMS["runs"]["one"], "seed": 7}}
    write_params(tmp_path, {"runs": runs, "ensembles.both.runs": ["one", LONG]})
    result = itr("check", columns=columns)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.output.splitlines()]
    for name, run in runs.items():
        assert f"seed {run['seed']}: {name}" in lines
    assert {"esa on tiny, published", "ensemble both on tiny", LONG} <= set(lines)
    assert "3 epochs, batch 8, learning rate 0.002" in lines
    assert lines[-1] == "params.yaml: valid. 3 runs, 1 ensembles."
    assert "…" not in result.output


@pytest.mark.parametrize("path", ["params.yaml", "experiments/f30k/params.yaml", "experiments/coco/params.yaml"])
def test_check_of_the_repositorys_own_files_fits_into_80_columns(path: str) -> None:
    result = itr("check", str(ROOT / path))
    assert result.exit_code == 0
    assert max(len(line) for line in result.output.splitlines()[:-1]) <= 80


@pytest.mark.parametrize("command", ["check", "leaderboard", "track"])
def test_an_error_in_params_yaml_is_its_message_and_no_traceback(
    command: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("title:", "'[red]titel':"))
    result = itr(command, columns=40)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "error: params.yaml: report: unknown key '[red]titel'; did you mean 'title'? (valid here: title, gallery)"
    ]


@pytest.mark.parametrize("command", ["check", "leaderboard", "track"])
def test_an_error_in_a_recipe_is_its_message_and_no_traceback(command: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    text = Path("recipes/esa.yaml").read_text()
    Path("recipes/esa.yaml").write_text(text.replace("margin:", "'[red]margin':"))
    result = itr(command, columns=40)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "error: recipes/esa.yaml: loss: unknown key '[red]margin'; did you mean 'margin'? (valid here: kind, warmup_epochs, margin)"
    ]


def test_check_heads_runs_with_what_they_change_of_their_recipe(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    one = PARAMS["runs"]["one"]
    runs = {"a": one, "b": one | {"variant": "coco"}, "c": one | {"profile": "small"}}
    runs["d"] = one | {"variant": "coco", "profile": "small"}
    write_params(
        tmp_path,
        {
            "methods.esa.variants": {"coco": {"recipe": {"epochs": 5}}},
            "profiles.small": {"recipe": {"batch_size": 4}},
            "runs": runs,
            "ensembles": {},
        },
    )
    lines = itr("check").output.splitlines()
    trained = {line: lines[at + 1].strip() for at, line in enumerate(lines) if line.startswith("esa on")}
    assert trained == {
        "esa on tiny, published": "3 epochs, batch 8, learning rate 0.002",
        "esa on tiny, coco": "5 epochs, batch 8, learning rate 0.002",
        "esa on tiny, small": "3 epochs, batch 4, learning rate 0.002",
        "esa on tiny, coco+small": "5 epochs, batch 4, learning rate 0.002",
    }


@pytest.mark.parametrize("command", ["check", "leaderboard", "track"])
def test_outside_a_project_a_command_says_where_to_run_it(command: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    result = itr(command)
    assert result.exit_code == 1
    assert f"{tmp_path / 'params.yaml'}: not found; run from a folder that holds params.yaml" in result.output


def test_check_speaks_of_the_recipe_only_where_something_is_trained(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = {"path": "best.pth", "sha256": "a" * 64, "text_digest": "b" * 64}
    new = {"data": "tiny", "method": "esa", "checkpoint": checkpoint}
    for runs, shown in (({"new": new}, 0), ({"new": new, "one": PARAMS["runs"]["one"]}, 1)):
        write_params(tmp_path, {"runs": runs, "ensembles": {}})
        result = itr("check")
        assert "  imported from best.pth: new" in result.output.splitlines()
        assert result.output.count("learning rate") == shown, result.output


def test_the_leaderboard_without_results_says_what_to_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    result = itr("leaderboard")
    assert result.exit_code == 0
    assert result.output.splitlines() == ["No results yet, run dvc repro: one, two, both"]


def test_the_leaderboard_shows_what_has_results_and_names_the_rest(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    put_run(tmp_path, evaluation("two", "tiny", "gpo", 1, 20.0))
    put_run(tmp_path, evaluation("gone", "tiny", "gpo", 2, 90.0))  # no longer in params.yaml
    result = itr("leaderboard")
    assert result.exit_code == 0
    *board, rest = result.output.splitlines()
    assert [line.split()[:3] for line in board if "/small" in line] == [["gpo/small", "1", "20.0"]]
    assert rest == "No results yet, run dvc repro: one, both"
    put_run(tmp_path, evaluation("one", "tiny", "esa", 1, 40.0))
    put_ensemble(tmp_path, evaluation("both", "tiny", None, None, 50.0, members=["one", "two"], profile=None))
    result = itr("leaderboard")
    assert "esa/small" in result.output and "both" in result.output and "No results" not in result.output
    assert itr("leaderboard", "--protocol", "split").output == result.output
    refused = itr("leaderboard", "--protocol", "eccv")
    assert (refused.exit_code, refused.output) == (
        1,
        "error: protocol: no 'eccv' in those of params.yaml (known: split)\n",
    )


def test_a_damaged_result_is_an_error_and_not_taken_for_a_missing_one(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    put_run(tmp_path, evaluation("two", "tiny", "gpo", 1, 20.0))
    Path("results/tiny/two/metrics.json").write_text("{")
    result = itr("leaderboard")
    assert result.exit_code == 1
    assert result.output.startswith("error: results/tiny/two/metrics.json: ")


def test_track_fills_an_empty_store_tells_what_has_no_results_and_can_be_repeated(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    params = project(tmp_path)
    train_in(tmp_path, "one")
    evaluate(params, "one")
    judge(params, "one")
    for _ in range(2):
        result = itr("track")
        assert result.exit_code == 0, result.output
        assert result.output.splitlines() == [
            "MLflow holds 1 of 3 runs and ensembles.",
            "No results yet, run dvc repro: two, both",
        ]
    train_in(tmp_path, "two")
    evaluate(params, "two")
    judge(params, "two")
    evaluate_ensemble(params, "both")
    assert itr("track").output.splitlines() == ["MLflow holds 3 of 3 runs and ensembles."]
    experiment = Tracker()._client.get_experiment_by_name("tiny")
    runs = Tracker()._client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["both", "one", "two"]
    (tmp_path / "mlflow.db").write_text("damaged" * 100)
    result = itr("track")
    assert result.exit_code == 1
    assert result.output.count("warning:") == 1 and "mlflow.db failed" in result.output


@pytest.mark.parametrize("arguments", [[], ["ona"]])
def test_a_stage_for_an_unknown_run_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    from stages import train

    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_stage(train.main)
    assert caught.value.code == 1
    errors = unstamped(capsys.readouterr().err)
    name = (arguments or [""])[0]
    assert errors.startswith(f"error: params.yaml: run: no {name!r} in runs") and errors.count("\n") == 1


def test_a_stage_gets_the_configuration_and_its_item(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", "two"])
    seen: list[Any] = []
    run_stage(lambda params, name: seen.append((params.model_dump(), name)))
    assert seen == [(load().model_dump(), "two")]


def test_a_bug_of_ours_is_not_taken_for_a_users_error(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)

    def stage(*_: Any) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as caught:
        run_stage(stage)
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 1 and all(
        re.match(STAMP.pattern.replace("(INFO|WARNING|ERROR)", "ERROR"), line) for line in lines
    )
    assert "Traceback" in lines[0] and unstamped(lines[-1]) == "KeyError: 'bug'"


def test_the_command_starts_without_loading_torch_or_mlflow(tmp_path: Path) -> None:
    """`itr check` answers at once; each of the two takes seconds to load."""
    write_params(tmp_path)
    code = (
        "import sys; from itrcore.cli.app import app\n"
        "try: app(['check'])\n"
        "finally: print(sorted({'torch', 'mlflow', 'pyarrow', 'dvc', 'prefect'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_the_library_knows_no_prefect_and_where_it_knows_dvc_and_mlflow() -> None:
    rooms: dict[str, set[str]] = {"dvc": set(), "prefect": set(), "mlflow": set()}
    for path in (ROOT / "itrcore").rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ("import", "from"):
                with contextlib.suppress(KeyError):
                    rooms[words[1].split(".")[0]].add(
                        path.parent.name if path.parent != ROOT / "itrcore" else path.name
                    )
    assert rooms == {"dvc": {"cache.py", "remote.py"}, "prefect": set(), "mlflow": {"tracking", "serving"}}
