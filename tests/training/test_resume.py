"""A training killed at any moment and started again ends, on CPU, with the very weights of an uninterrupted one."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from itrcore import layout
from itrcore.data.feeding.order import TrainingBatches, Views
from itrcore.data.feeding.prepared import open_split
from itrcore.data.image_inputs import RegionInput
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError, TrainingError
from itrcore.evaluation.load import load_run
from itrcore.files import read_json
from itrcore.layers.losses.triplet import SelfExpanding
from itrcore.layers.progress import Progress
from itrcore.layers.queue import EMPTY
from itrcore.methods.vse.esa import ESA
from itrcore.runs import inputs
from itrcore.runs.observer import Observer
from itrcore.settings.load import load
from itrcore.training.state import StateFolder, TrainingState
from itrcore.training.train import train
from tests.support.killing import Kill, saved
from tests.support.tiny_project import (
    CODER,
    PIXELS,
    coder_project,
    freeze_code,
    prepare,
    project,
    stage,
    timeless,
    train_in,
    weights,
    write_params,
)
from tests.support.warm import python

METHODS = ("esa", "gpo", "esa_bert", "esl_bert", "saf")  # the last one with Adam


@pytest.fixture
def kill(monkeypatch: Any) -> Kill:
    return Kill(monkeypatch)


SHORT = {
    f"methods.{name}.recipe.{key}": value
    for name in METHODS
    for key, value in (
        ("epochs", 2),
        ("schedule", {"kind": "step", "epochs": [1], "factor": 0.1}),
        ("batch_size", 16),
    )
} | {f"runs.{name}": {"data": "tiny", "method": name, "seed": 1} for name in METHODS[2:]}


@pytest.mark.parametrize("name", ["one", "two", *METHODS[2:]])
def test_a_training_killed_after_every_single_step_ends_with_the_same_bits(
    name: str, tmp_path: Path, kill: Kill
) -> None:
    (tmp_path / "whole").mkdir()
    project(tmp_path / "whole", {**SHORT, "training.save_every_steps": 1000})
    whole = train_in(tmp_path / "whole", name)
    (tmp_path / "killed").mkdir()
    project(tmp_path / "killed", {**SHORT, "training.save_every_steps": 1})
    for step in range(1, 15):
        kill.after(1, tmp_path / "killed", name)
        assert saved(tmp_path / "killed", name).global_step == step  # each attempt did one step and no more
    run = train_in(tmp_path / "killed", name)
    assert weights(run) == weights(whole)
    assert timeless(run) == timeless(whole)
    assert not (tmp_path / "killed" / "state" / "tiny" / name).exists()  # nothing to go on with is left


OFTEN = {
    **SHORT,
    "methods.esa.recipe.schedule": {"kind": "cosine", "warmup": 0.3},
    "methods.esa.recipe.evaluations": 3,
}


def test_a_training_killed_within_epochs_of_several_evaluations_ends_with_the_same_bits(
    tmp_path: Path, kill: Kill
) -> None:
    (tmp_path / "whole").mkdir()
    project(tmp_path / "whole", {**OFTEN, "training.save_every_steps": 1000})
    whole = train_in(tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    project(tmp_path / "killed", {**OFTEN, "training.save_every_steps": 1})
    parts = []
    for _ in range(14):
        kill.after(1, tmp_path / "killed")
        state = saved(tmp_path / "killed")
        parts.append((state.epoch, state.step, len(state.history), state.part_steps))
    # Dev is evaluated after 3, 5 and all 7 steps of an epoch.
    assert parts == [
        *[(0, 1, 0, 1), (0, 2, 0, 2), (0, 3, 1, 0), (0, 4, 1, 1), (0, 5, 2, 0), (0, 6, 2, 1), (1, 0, 3, 0)],
        *[(1, 1, 3, 1), (1, 2, 3, 2), (1, 3, 4, 0), (1, 4, 4, 1), (1, 5, 5, 0), (1, 6, 5, 1), (2, 0, 6, 0)],
    ]
    run = train_in(tmp_path / "killed")
    assert weights(run) == weights(whole)
    assert timeless(run) == timeless(whole)


# Two epochs of three steps; a grid's backbone is opened in the second.
GRID = {
    **PIXELS,
    "runs.one.method": "esl_grid",
    "methods.esl_grid.recipe.batch_size": 40,
    "methods.esl_grid.recipe.epochs": 2,
    "methods.esl_grid.recipe.schedule": {"kind": "step", "epochs": [1], "factor": 0.1},
}


@pytest.mark.parametrize("changes", [PIXELS, GRID], ids=["clip with adamw_bert", "grid"])
def test_a_training_of_pixels_killed_after_every_step_ends_with_the_same_bits(
    changes: dict[str, Any], tmp_path: Path, kill: Kill
) -> None:
    prepare(tmp_path, changes)
    whole = train_in(tmp_path)
    before = weights(whole), timeless(whole)
    write_params(tmp_path, {**changes, "training.save_every_steps": 1})
    for _ in range(6):
        kill.after(1, tmp_path)
    run = train_in(tmp_path)
    assert (weights(run), timeless(run)) == before
    assert read_json(run / "run.json")["features"] == "synthetic"  # drawn pictures


SCALE = {"initial_scale": 14.3, "max_scale": 100.0}


@pytest.mark.parametrize(
    ("loss", "learned"),
    [
        ({"kind": "symmetric", **SCALE}, ["loss.own_log_scale"]),
        ({"kind": "sigmoid", **SCALE, "initial_bias": -5.0}, ["loss.bias", "loss.own_log_scale"]),
    ],
    ids=["symmetric", "sigmoid"],
)
def test_what_a_loss_learns_goes_on_with_a_killed_training_and_is_no_part_of_the_run(
    loss: dict[str, Any], learned: list[str], tmp_path: Path, kill: Kill
) -> None:
    changes = {**SHORT, "methods.gpo.recipe.batch_size": 40}  # two epochs of three steps
    project(tmp_path, changes)
    with_hinge = size_of(train_in(tmp_path, "two"))
    changes["methods.gpo.loss"] = loss
    write_params(tmp_path, changes)
    whole = train_in(tmp_path, "two")
    before = weights(whole), timeless(whole)

    write_params(tmp_path, {**changes, "training.save_every_steps": 1})
    states = [
        {name: value.item() for name, value in state.items() if name.startswith("loss.")}
        for state in killed_after_each_step(tmp_path, kill)
    ]
    assert all(sorted(state) == learned for state in states)
    assert all(len({state[name] for state in states}) == 6 for name in learned)  # each attempt learned on
    run = train_in(tmp_path, "two")
    assert (weights(run), timeless(run)) == before
    assert size_of(run) == with_hinge
    with contextlib.chdir(tmp_path):
        loaded = load_run(layout.run("tiny", "two"))
    assert loaded.record.settings.loss.kind == loss["kind"]


def test_queues_following_encoders_and_clusters_go_on_with_a_killed_training_and_are_no_part_of_the_run(
    tmp_path: Path, kill: Kill
) -> None:
    coder_project(tmp_path)
    whole = train_in(tmp_path, "two")
    before = weights(whole), timeless(whole)

    write_params(tmp_path, {**CODER, "training.save_every_steps": 1})
    filled = []
    for state in killed_after_each_step(tmp_path, kill):
        filled.append(int((state["queue.ids"] != EMPTY).sum()))
        assert {"keys.graph.first.weight", "clusters.centres", "clusters.weight", "queue.next"} <= set(state)
    assert filled == [40, 80, 100, 100, 100, 100]
    run = train_in(tmp_path, "two")
    assert (weights(run), timeless(run)) == before
    with contextlib.chdir(tmp_path):
        loaded = load_run(layout.run("tiny", "two"))  # with the concepts of its own folder
    names, parameters = size_of(run)
    assert names == set(loaded.method.state_dict())
    assert parameters == sum(parameter.numel() for parameter in loaded.method.parameters())


def killed_after_each_step(folder: Path, kill: Kill) -> Iterator[dict[str, Tensor]]:
    """The weights saved by each of six attempts, which do one step each."""
    for step in range(1, 7):
        kill.after(1, folder, "two")
        yield load_file(folder / "state" / "tiny" / "two" / f"step-{step:08d}" / "model.safetensors")


def size_of(run: Path) -> tuple[set[str], int]:
    """The names of a run's weights, and the number of parameters that its record says."""
    return set(load_file(run / "model.safetensors")), read_json(run / "run.json")["parameters"]


def test_a_training_that_goes_on_tells_the_method_its_epoch_and_the_loss_of_each_step_again(
    tmp_path: Path, kill: Kill, monkeypatch: Any
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(ESA, "begin_epoch", lambda self, epoch: told.append(epoch))
    monkeypatch.setattr(SelfExpanding, "after_step", lambda self: told.append("stepped"))
    project(tmp_path)  # saved after every fourth step, and after the 15th, the last of an epoch
    kill.after(5, tmp_path)
    assert told == [0, *["stepped"] * 15, 1, "stepped"]
    told.clear()
    kill.after(1, tmp_path)
    assert told == [1, *["stepped"] * 4]  # of the second epoch's step 2 on


def test_training_twice_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    project(tmp_path)
    first = weights(train_in(tmp_path))
    assert weights(train_in(tmp_path)) == first
    write_params(tmp_path, {"runs.one.seed": 2})
    assert weights(train_in(tmp_path)) != first


def test_a_damaged_state_means_a_fresh_start_and_the_same_result(tmp_path: Path, kill: Kill) -> None:
    project(tmp_path)
    whole = weights(train_in(tmp_path))
    kill.after(5, tmp_path)
    for path in (tmp_path / "state").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    assert weights(train_in(tmp_path)) == whole


@pytest.mark.parametrize("lost", ["nothing", "results", "weights"])
def test_a_finished_training_is_written_out_again_without_a_step_until_its_state_is_cleared(
    lost: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    params = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    out = train(params, "one", Observer())
    before, history = weights(out), (out / "history.json").read_bytes()
    state = Path("state/tiny/one")
    kinds = {path.suffix for path in state.iterdir()}
    assert kinds == {".json", ".safetensors", ".txt"}  # no optimiser's state, which is large
    if lost == "results":
        shutil.rmtree(out)
    if lost == "weights":
        (path,) = state.glob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    capsys.readouterr()
    train(params, "one", Observer())
    assert ("epoch" not in capsys.readouterr().out) == (lost != "weights")
    assert weights(out) == before
    assert lost == "weights" or (out / "history.json").read_bytes() == history
    write_params(tmp_path, {"runs.one.seed": 2})
    assert weights(train(load(), "one", Observer())) is not None and weights(out) != before


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_with_step_and_ids_and_the_state_can_go_on(
    what: str, tmp_path: Path, monkeypatch: Any
) -> None:
    params = project(tmp_path)
    whole = weights(train_in(tmp_path))
    original = SelfExpanding.forward

    def forward(self: SelfExpanding, scores: Tensor, progress: Progress) -> dict[str, Tensor]:
        terms = original(self, scores, progress)
        if progress.step != 21:
            return terms
        if what == "loss":
            return {name: term * float("inf") for name, term in terms.items()}
        return {name: term + (0 * scores).sqrt().sum() for name, term in terms.items()}

    with monkeypatch.context() as patch, pytest.raises(TrainingError) as caught:
        patch.setattr(SelfExpanding, "forward", forward)
        train_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    vocabulary = Vocabulary.load(Path("data/tiny/vocab/vocab.json"), Path("data/nltk"))
    model = params.method_of("one").model
    assert model.touched is not None
    views = Views(model.n_views, (model.touched, vocabulary.token_ids))
    batches = TrainingBatches(open_split("tiny", "train", vocabulary, RegionInput()), 8, 1, views)
    batch = next(iter(batches.epoch(1, 6)))
    said = str(caught.value)
    assert said.startswith("total became inf" if what == "loss" else "gradient norm became nan")
    assert "in epoch 2, step 21 " in said
    assert f"Image ids of the batch: {batch.image_ids}; caption ids: {batch.caption_ids}." in said
    assert saved(tmp_path).global_step == 20  # of the last save before
    assert weights(train_in(tmp_path)) == whole


def test_a_learning_rate_far_too_high_is_a_clear_error_and_leaves_no_thread(tmp_path: Path) -> None:
    project(tmp_path, {"methods.esa.recipe.learning_rate": 1e30})
    before = set(threading.enumerate())
    with pytest.raises((TrainingError, DataError), match=r"became (nan|inf) in epoch \d|found nan") as caught:
        train_in(tmp_path)
    assert set(threading.enumerate()) <= before, caught  # while the error still holds what was open


@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_with_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Of CODER: what it keeps besides the method (queue, following encoders, centres, classifier) has the same bits on the way."""
    changes = {
        "methods.gpo.recipe": {**CODER["methods.gpo.recipe"], "epochs": 12},
        "training.save_every_steps": 1,
    }
    for folder in (tmp_path / "whole", tmp_path):
        coder_project(folder, changes)
    kept: dict[int, dict[str, str]] = {}  # step → digests of the state of an uninterrupted training
    save = StateFolder.save

    def noted(folder: StateFolder, state: TrainingState, *arguments: Any) -> None:
        save(folder, state, *arguments)
        kept[state.global_step] = digests_at(folder.folder, state.global_step)

    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "save", noted)
        whole = train_in(tmp_path / "whole", "two")
    frozen = freeze_code(tmp_path / "code")
    with contextlib.chdir(tmp_path):
        inputs.write(load(), "tiny")
    state = tmp_path / "state" / "tiny" / "two"
    rng = random.Random()  # other moments each time: the promise is for any of them
    process = stage(tmp_path, "train", "two", code=frozen)
    time.sleep(rng.uniform(0.1, 3.0))
    moments = [f"{time.time()}: at the start"]
    process.kill()
    process.communicate()
    for _ in range(2):
        before = newest(state)
        process = stage(tmp_path, "train", "two", code=frozen)
        wanted = before + rng.randint(1, 12)
        while newest(state) < wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        output = process.communicate()[0]
        moments.append(f"after step {newest(state)}")
        assert process.returncode == -signal.SIGKILL, output
        assert before == 0 or f"step {before % 3 + 1} of 3" in output  # it did go on
        assert digests_at(state, newest(state)) == kept[newest(state)], moments
    process = stage(tmp_path, "train", "two", code=frozen, by=python())
    output = process.communicate()[0]
    assert process.returncode == 0 and "Going on at epoch" in output, output
    run = tmp_path / "runs" / "tiny" / "two"
    assert weights(run) == weights(whole), moments
    assert timeless(run) == timeless(whole), moments
    active = mlflow_runs(tmp_path)
    assert [(run["status"], run["epochs"]) for run in active] == [("FINISHED", list(range(1, 13)))], moments


def digests_at(state: Path, step: int) -> dict[str, str]:
    """Of the files of a saved state, by its own record, but not of that record, which has times."""
    files: dict[str, str] = read_json(state / f"step-{step:08d}" / "state.json")["files"]
    return files


def newest(state: Path) -> int:
    return max((int(path.name[5:]) for path in state.glob("step-*")), default=0)


def mlflow_runs(folder: Path) -> list[dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    return [
        {
            "status": run.info.status,
            "epochs": sorted(metric.step for metric in client.get_metric_history(run.info.run_id, "dev/rsum")),
        }
        for run in client.search_runs([experiment.experiment_id])
    ]
