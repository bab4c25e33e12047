"""One small sweep with real trainings, killed in the middle and run again: what it has, what it reads, and what it leaves alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itrcore.cli.app import app
from itrcore.errors import ITRError
from itrcore.files import read_json
from itrcore.runs.trials import Trial
from itrcore.settings import sweeps
from itrcore.settings.load import load
from itrcore.sweeps.process import Processes, Task
from itrcore.sweeps.study import find_study
from tests.support import warm
from tests.support.tiny_project import ROOT, prepare, train_in, weights, write_params

# Enough data to tell learning from chance (rsum 72): 60 steps in three epochs end with 101 on dev.
DATA = {
    "datasets.tiny.source.images": {"train": 100, "dev": 40, "test": 8},
    "datasets.tiny.source.noise": 0.0,
    "datasets.tiny.source.near_duplicates": 1,
    "methods.gpo.model.dim": 32,
    "methods.gpo.model.text.word_dim": 16,
    "methods.gpo.loss.warmup_epochs": 2,
    "methods.gpo.recipe.learning_rate": 5e-3,
    "methods.gpo.recipe.batch_size": 20,
    "methods.gpo.recipe.schedule": {"kind": "cosine", "warmup": 0.1},
}
# The recipe's own learning rate; one that learns nothing; one whose loss is soon not finite.
RATES = [5e-3, 1e-6, 1e30]
SWEEP = f"""
run: two
search: {{recipe.learning_rate: {RATES}}}
sampler: grid
seeds: [1, 2]
prune: {{kind: median, after_epochs: 2, after_trials: 1}}
"""
# Of the sweep itself a process of its own, that can be killed. Of its trainings forks of a Python that has imported torch.
COMMAND = "import sys; sys.executable = {python!r}; from itrcore.cli.app import app; app(['sweep', 'rates'])"

pytestmark = pytest.mark.slow


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(python=warm.python())],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """Its folder, and what the second process printed."""
    folder = tmp_path_factory.mktemp("swept")
    prepare(folder, DATA)
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "rates.yaml").write_text(SWEEP, "utf-8")
    of_test = list((folder / "data" / "tiny" / "shards" / "regions").glob("test*"))
    assert of_test
    for path in of_test:
        path.write_bytes(b"not to be read")
    with start(folder) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if "trial 1 of 3, seed 1: epoch 1" in line:
                first.send_signal(signal.SIGKILL)
    with start(folder) as second:
        printed = second.communicate(timeout=300)[0]
        assert second.returncode == 0, printed
    with contextlib.chdir(folder):
        yield folder, printed.splitlines()


@pytest.fixture
def trials(swept: tuple[Path, list[str]]) -> list[Trial]:
    study = find_study(sweeps.read(load(), "rates"))
    assert study is not None and study.ours
    return study.trials()


def test_each_trial_has_ended_once(swept: tuple[Path, list[str]], trials: list[Trial]) -> None:
    assert [trial.values["recipe.learning_rate"] for trial in trials] == RATES
    assert [trial.state for trial in trials] == ["finished", "pruned", "failed"]
    assert trials[1].epoch == 2 and not trials[1].trained  # the second seed is not tried any more
    assert "total became nan" in str(trials[2].why)
    rsums = [trained.rsum for trained in trials[0].trained.values()]
    assert len(rsums) == 2 and trials[0].rsum == sum(rsums) / 2
    assert trials[0].curve == trials[0].trained[1].curve and len(trials[0].curve) == 3
    printed = "\n".join(swept[1])
    assert "3 trials, 0 of them done" in printed and "trial 1 of 3, seed 1: epoch 2" in printed


def test_a_trial_that_was_killed_ends_as_the_run_itself_would_have_without_a_look_at_test(
    swept: tuple[Path, list[str]], trials: list[Trial], tmp_path: Path
) -> None:
    folder = next(Path("sweeps/rates").glob("*/1-1.log")).parent
    assert "Going on at epoch 2, step 1" in (folder / "1-1.log").read_text("utf-8")
    assert not any(Path(name).exists() for name in ("runs", "evaluations", "curves", "state/tiny"))
    shutil.copytree("data", tmp_path / "data")
    write_params(tmp_path, DATA)
    run = train_in(tmp_path, "two")
    history = read_json(run / "history.json")["evaluations"]
    assert trials[0].curve == [(point["epoch"], point["dev"]["rsum"]) for point in history]
    kept = {path.name for path in folder.iterdir() if path.is_dir()}
    assert kept == {"1-1", "1-2"}  # what nobody needs takes no room


def test_mlflow_has_a_run_for_the_sweep_and_one_for_each_trial_below_it(swept: Any, trials: list[Trial]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    assert {each.name for each in client.search_experiments()} == {
        "Default",
        "tiny (sweeps)",
    }  # nothing beside the runs
    experiment = client.get_experiment_by_name("tiny (sweeps)")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = sorted((run for run in runs if run is not parent), key=lambda run: run.info.run_name)
    assert [run.data.tags["mlflow.parentRunId"] for run in children] == [parent.info.run_id] * 3
    assert [run.data.tags["state"] for run in children] == [trial.state for trial in trials]
    assert [run.info.status for run in (parent, *children)] == ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    for run, trial in zip(children[:2], trials, strict=False):
        history = client.get_metric_history(run.info.run_id, "dev/rsum/seed_1")
        assert [(each.step, each.value) for each in history] == trial.curve
    assert float(children[1].data.params["recipe.learning_rate"]) == RATES[1]
    assert parent.data.metrics["dev/rsum"] == trials[0].rsum


def test_a_sweep_that_is_done_trains_nothing_more(swept: Any, trials: list[Trial]) -> None:
    done = CliRunner().invoke(app, ["sweep", "rates"])
    assert (
        done.exit_code == 0
        and "3 of them done" in done.output
        and "epoch" not in done.output.partition("with other")[0]
    )
    again = find_study(sweeps.read(load(), "rates"))
    assert again is not None and again.trials() == trials


def test_the_best_trial_becomes_a_run_that_need_not_be_trained_again(
    swept: tuple[Path, list[str]], trials: list[Trial], capfd: pytest.CaptureFixture[str]
) -> None:
    assert CliRunner().invoke(app, ["sweep", "rates", "--adopt", "best"]).exit_code == 0
    kept = next(Path("sweeps/rates").glob("*/1-2/best-*.safetensors")).read_bytes()
    run = train_in(swept[0], "tiny-gpo-best-2")
    assert "Done already" in capfd.readouterr().out
    assert weights(run) == kept
    assert load().method_of("tiny-gpo-best-1").recipe.learning_rate == RATES[0]


def test_a_training_refuses_to_add_to_trials_of_other_settings(
    swept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those that params.yaml had when the sweep began."""
    monkeypatch.setattr(sys, "executable", warm.python())
    task = Task("rates", "other", "rates-9", {"recipe.learning_rate": RATES[0]}, 1, str(tmp_path / "state"))
    with pytest.raises(ITRError, match="code, settings or data have changed since sweep rates began"):
        Processes().train(task, tmp_path / "log", None, lambda curve: True)
