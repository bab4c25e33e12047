"""`itr check`: what a configuration costs, said before it runs."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from itrcore.cli import check
from itrcore.cli.app import app
from itrcore.costs.rates import Rates
from itrcore.training.rehearsal import Rehearsal
from tests.support.tiny_project import project, train_in, write_params

Usage = namedtuple("Usage", "total used free")


def itr(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["check", *arguments])


def line(output: str, start: str) -> str:
    """The line that begins so, and those that go on with it."""
    found = re.search(rf"^ *{re.escape(start)}.*(?:\n  \S.*)*", output, re.M)
    assert found, output
    return re.sub(r"\s*\n\s*", " ", found[0].strip())


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: Any) -> None:
    monkeypatch.setattr(check, "_GPUS", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_it_says_steps_time_downloads_and_disk(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path, {"training.device": "auto"})
    monkeypatch.chdir(tmp_path)
    output = itr().output
    assert line(output, "45 steps").startswith("45 steps: roughly ")
    assert line(output, "To do") == "To do: 2 trainings (90 steps), 2 evaluations; 0 runs are done"
    assert re.fullmatch(
        r"No GPU found: roughly \S+ seconds on this CPU; itr check --cost measures it", line(output, "No GPU")
    )
    assert line(output, "Downloads") == "Downloads: none"
    assert line(output, "Disk").startswith("Disk: about ")


def test_days_on_a_cpu_are_announced_with_what_to_set(tmp_path: Path, monkeypatch: Any) -> None:
    many = {"methods.esa.recipe.epochs": 1_000_000, "methods.esa.recipe.schedule.epochs": [2]}
    for device, warned in (("auto", True), ("cpu", False)):
        write_params(tmp_path, {**many, "training.device": device})
        output = itr(str(tmp_path / "params.yaml")).output
        assert ("A training of more than a day stops on a CPU unless training.device is cpu" in output) == warned
        assert re.search(r"roughly \S+ days on this CPU", output)


def test_seeds_share_a_line_and_what_is_done_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    runs = {f"one-{seed}": {"data": "tiny", "method": "esa", "seed": seed} for seed in (1, 2)}
    project(tmp_path, {"runs": runs, "ensembles": {}})
    train_in(tmp_path, "one-1")
    output = itr(str(tmp_path / "params.yaml")).output  # from another folder
    assert "  45 steps each, 2 times: roughly" in output
    assert "  seed 1: one-1 (trained)\n  seed 2: one-2\n" in output
    assert line(output, "To do") == "To do: 1 trainings (45 steps), 2 evaluations; 0 runs are done"


def test_a_data_set_whose_size_is_not_known_says_when_it_will_be(tmp_path: Path, monkeypatch: Any) -> None:
    source = {"kind": "scan", "folder": "own", "features": "other", "splits": {"train": "a", "dev": "b", "test": "c"}}
    write_params(tmp_path, {"datasets.tiny.source": source, "datasets.tiny.vocabulary": {"min_count": 1}})
    output = itr(str(tmp_path / "params.yaml")).output
    assert "  steps: known after dvc repro splits@tiny" in output
    assert line(output, "How much") == "How much tiny holds is known after the stage splits; it is not counted here"


def test_measuring_says_what_it_does_and_uses_what_it_measured(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path, {"training.device": "auto"})
    monkeypatch.chdir(tmp_path)
    given: list[float] = []

    def rates(self: Rehearsal, seconds: float) -> Rates:
        given.append(seconds)
        return Rates(2.0, 0.0, 0.0, 0.0, 1000, "measured" if len(given) == 1 else "measured in smaller batches")

    monkeypatch.setattr(Rehearsal, "rates", rates)
    output = itr("--cost", "--within", "30").output
    assert output.startswith("Measuring steps of 2 kinds of runs, which takes about 30 s at most …")
    assert "  45 steps: about 1.5 minutes\n" in output
    assert "  45 steps: about 1.5 minutes (from smaller batches)\n" in output
    assert line(output, "No GPU") == "No GPU found: about 3 minutes on this CPU"
    assert given[0] < 15.1 and given[1] < 30


def test_what_cannot_be_measured_is_guessed_and_the_others_are_measured(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    original = Rehearsal.rates

    def rates(self: Rehearsal, seconds: float) -> Rates:
        if self._settings.model.kind == "esa":
            raise MemoryError("no memory left\nfor it")
        return original(self, seconds)

    monkeypatch.setattr(Rehearsal, "rates", rates)
    result = itr("--cost")
    assert result.exit_code == 0
    assert "warning: esa on tiny cannot be measured here: no memory left" in result.output
    assert "45 steps: roughly" in result.output and "45 steps: about" in result.output


def test_a_disk_that_is_too_small_is_warned_of(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(10, 3, 7000))
    result = itr()
    assert result.exit_code == 0
    assert f"warning: the disk of {tmp_path} has 7 kB free" in result.output


def test_on_a_gpu_nothing_is_guessed_from_a_cpu(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path, {"training.device": "auto"})
    monkeypatch.setattr(check, "_GPUS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    output = itr(str(tmp_path / "params.yaml")).output
    assert "  45 steps\n" in output and "roughly" not in output
    assert line(output, "On cuda") == "On cuda: how long that takes, itr check --cost measures"


def test_when_the_time_is_up_the_others_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    now = iter([0.0, 0.0, 121.0])
    monkeypatch.setattr("itrcore.cli.check.time", SimpleNamespace(monotonic=lambda: next(now, 121.0)))
    monkeypatch.setattr(Rehearsal, "rates", lambda self, seconds: Rates(2.0, 0.0, 0.0, 0.0, 1000, "measured"))
    output = itr("--cost").output
    assert "warning: no time was left to measure gpo on tiny; give more with --within SECONDS" in output
    assert "45 steps: about 1.5 minutes" in output and "45 steps: roughly" in output


def test_what_a_data_set_reads_and_is_not_there_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    source = {
        "kind": "scan",
        "folder": "flickr30k",
        "features": "other",
        "splits": {s: s for s in ("train", "dev", "test")},
    }
    write_params(tmp_path, {"datasets.tiny.source": source, "datasets.tiny.reads": "flickr30k"})
    monkeypatch.chdir(tmp_path)
    said = "Not there: flickr30k, which is datasets.tiny.reads; without it dvc repro stops at tiny"
    assert said in itr().output.splitlines()
    (tmp_path / "flickr30k").mkdir()
    assert "Not there" not in itr().output
