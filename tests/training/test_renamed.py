"""A run under a new name: what was trained is taken over, bit for bit and without a step; what is damaged is not."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from itrcore import layout
from itrcore.errors import DataError
from itrcore.files import read_json
from itrcore.runs.observer import Observer
from itrcore.runs.records import Point, RunDescription
from itrcore.settings.load import load
from itrcore.training.loop import Trainer
from itrcore.training.state import StateFolder
from itrcore.training.train import train
from tests.support.killing import Kill, saved
from tests.support.tiny_project import project, rewrite, timeless, train_in, weights, write_params

RENAMED = {"runs": {"uno": {"data": "tiny", "method": "esa", "seed": 1}}, "ensembles": {}}


@pytest.fixture
def steps(monkeypatch: Any) -> list[int]:
    """The number of each step that is made."""
    made: list[int] = []
    original = Trainer._step

    def step(self: Trainer, batch: Any, progress: Any) -> dict[str, float]:
        made.append(progress.step)
        return original(self, batch, progress)

    monkeypatch.setattr(Trainer, "_step", step)
    return made


class Heard(Observer):
    """What an observer is told, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def begin(self, run: RunDescription, tracking_id: str | None) -> str | None:
        self.calls.append(("begin", (run.name, tracking_id)))
        return tracking_id

    def evaluation(self, point: Point) -> None:
        self.calls.append(("evaluation", point))

    def finish(self, folder: Path) -> None:
        self.calls.append(("finish", folder))

    def fail(self) -> None:
        self.calls.append(("fail", None))


def test_a_renamed_run_has_the_weights_that_were_trained_and_no_step_is_made(
    tmp_path: Path, steps: list[int], capsys: Any
) -> None:
    project(tmp_path)
    old = train_in(tmp_path)
    rewrite(old / "run.json", code_version="the one that trained it")
    n_made, heard = len(steps), Heard()
    write_params(tmp_path, RENAMED)
    new = train_in(tmp_path, "uno", heard)
    assert len(steps) == n_made > 0
    assert weights(new) == weights(old)
    was, now = (read_json(run / "run.json") for run in (old, new))
    assert now["name"] == "uno"
    differing = {key for key in was if was[key] != now[key]}
    assert differing == {"name", "digest"}  # the record's own digest; the code that made the weights stays
    assert read_json(new / "history.json") == read_json(old / "history.json")
    curves = [(tmp_path / "curves" / f"{name}.csv").read_text() for name in ("one", "uno")]
    assert curves[0] == curves[1]
    assert heard.calls == [("begin", ("uno", None)), ("finish", new.relative_to(tmp_path))]
    said = [line for line in capsys.readouterr().out.splitlines() if "taken over" in line]
    assert said == ["Done already as runs/tiny/one, and taken over. To train anew, remove that folder first."]


def test_a_finished_training_that_dvc_has_not_recorded_is_taken_over_too(tmp_path: Path, steps: list[int]) -> None:
    project(tmp_path)
    with contextlib.chdir(tmp_path):
        old = tmp_path / train(load(), "one", Observer())
    kept = weights(old)
    (old / "run.json").unlink()  # its stage was killed before this was there
    n_made = len(steps)
    write_params(tmp_path, RENAMED)
    assert weights(train_in(tmp_path, "uno")) == kept
    assert len(steps) == n_made


@pytest.mark.parametrize("file", ["model.safetensors", "history.json", "run.json", "text/vocab.json"])
def test_a_damaged_run_is_not_taken_over(file: str, tmp_path: Path, steps: list[int], capsys: Any) -> None:
    project(tmp_path, {"methods.esa.recipe.epochs": 2, "methods.esa.recipe.schedule.epochs": [1]})
    old = train_in(tmp_path)
    kept = weights(old)
    data = bytearray((old / file).read_bytes())
    data[len(data) // 2] ^= 1
    (old / file).write_bytes(data)
    n_made = len(steps)
    write_params(tmp_path, {**RENAMED, "methods.esa.recipe.epochs": 2, "methods.esa.recipe.schedule.epochs": [1]})
    new = train_in(tmp_path, "uno")
    assert len(steps) == 2 * n_made
    assert weights(new) == kept
    assert ("not taken over" in capsys.readouterr().out) == (file != "run.json")


def test_weights_that_change_while_they_are_copied_become_no_run(tmp_path: Path, monkeypatch: Any) -> None:
    project(tmp_path)
    old = train_in(tmp_path)
    write_params(tmp_path, RENAMED)
    original = "itrcore.training.train.finished_twin"

    def late(*arguments: Any) -> Any:
        from itrcore.training.renamed import finished_twin

        twin = finished_twin(*arguments)
        (old / "model.safetensors").write_bytes(b"another training's")
        return twin

    monkeypatch.setattr(original, late)
    with pytest.raises(DataError, match="its bytes have changed"):
        train_in(tmp_path, "uno")
    assert not (tmp_path / "runs/tiny/uno").exists()


@pytest.mark.parametrize(
    "changes",
    [{"runs": {"uno": {"data": "tiny", "method": "esa", "seed": 2}}}, {"training.selection.captions": 20}],
)
def test_another_training_is_not_taken_over(changes: Any, tmp_path: Path, steps: list[int]) -> None:
    project(tmp_path)
    train_in(tmp_path)
    n_made = len(steps)
    write_params(tmp_path, {**RENAMED, **changes})
    train_in(tmp_path, "uno")
    assert len(steps) == 2 * n_made


def test_an_unfinished_training_goes_on_under_the_new_name(tmp_path: Path, monkeypatch: Any, steps: list[int]) -> None:
    (tmp_path / "whole").mkdir()
    project(tmp_path / "whole")
    whole = train_in(tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    project(killed)
    with monkeypatch.context() as only:
        Kill(only).after(7, killed, "one")
    stood = saved(killed, "one").global_step
    assert stood > 0
    write_params(killed, RENAMED)
    steps.clear()
    run = train_in(killed, "uno")
    assert steps[0] == stood
    assert weights(run) == weights(whole)
    assert timeless(run) == timeless(whole)
    assert not (killed / "state/tiny/one").exists()


def test_what_goes_on_by_itself_is_left_to_its_own_name(tmp_path: Path, monkeypatch: Any, steps: list[int]) -> None:
    """A run that params.yaml still has, and one that a process is training."""
    project(tmp_path)
    with monkeypatch.context() as only:
        Kill(only).after(7, tmp_path, "one")
    left = saved(tmp_path, "one")
    (tmp_path / "recipes/esa_too.yaml").write_bytes((tmp_path / "recipes/esa.yaml").read_bytes())
    text = (tmp_path / "params.yaml").read_text("utf-8")
    twin = {"runs.uno": {"data": "tiny", "method": "esa_too", "seed": 1}}
    write_params(tmp_path, twin)
    assert (tmp_path / "params.yaml").read_text("utf-8") != text
    train_in(tmp_path, "uno")
    assert saved(tmp_path, "one") == left
    write_params(tmp_path, RENAMED)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    with contextlib.chdir(tmp_path), StateFolder(layout.STATE / "tiny/one").alone():
        steps.clear()
        train(load(), "uno", Observer())
    assert steps[0] == 0
    assert saved(tmp_path, "one") == left
