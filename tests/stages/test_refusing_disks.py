"""A disk that is full or may not be written: each stage says so in one line, and goes on when that is mended."""

from __future__ import annotations

import importlib
import io
import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from itrcore.files import remove
from itrcore.settings.load import load
from itrcore.terminal import user_errors
from tests.support.project import ROOT
from tests.support.small_disk import small_disk
from tests.support.tiny_project import PARAMS, write_params

pytestmark = pytest.mark.slow

STEPS: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
ITEMS = {"downloads": "files", "datasets": "tiny", "runs": "one", "ensembles": "both", "transfers": "there"}


def command(stage: str) -> tuple[str, str]:
    """A stage's module and the item that it is run for here: by itself, from dvc.yaml."""
    step = STEPS[stage]
    cmd: str = step.get("do", step)["cmd"]
    return cmd.split()[2], ITEMS[step["foreach"].strip("${}")] if "foreach" in step else ""


def outputs(stage: str) -> list[Path]:
    """What DVC removes before it runs a stage."""
    step, item = STEPS[stage].get("do", STEPS[stage]), command(stage)[1]
    listed = [*step.get("outs", []), *step.get("metrics", []), *step.get("plots", [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in listed]
    data = "other" if item == "there" else "tiny"
    return [Path(path.replace("${key}", item).replace("${item.data}", data)) for path in paths]


def run(stage: str) -> tuple[int, str]:
    """Run a stage in a fork of this process, which has loaded all modules; its status, and what it says on standard error."""
    module, item = command(stage)
    reading, writing = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if not child:
        status, errors = 99, io.StringIO()
        try:
            os.close(reading)
            with redirect_stdout(io.StringIO()), redirect_stderr(errors), user_errors():
                importlib.import_module(module).main(load(), item)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException as error:
            errors.write(f"TRACE {error!r}")
        finally:
            os.write(writing, errors.getvalue()[-4000:].encode())
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run."""
    folder: Path = tmp_path_factory.mktemp("finished")
    (folder / "files").mkdir()
    (folder / "files" / "a.txt").write_text("a" * 9000)
    downloads = {"files": {"part": {"sources": [str(folder / "files" / "a.txt")]}}}
    there = {"run": "one", "trained_on": "tiny", "data": "other"}
    other = {"datasets.other": PARAMS["datasets"]["tiny"], "transfers": {"there": there}}
    write_params(folder, {"downloads": downloads, **other})
    with chdir(folder):
        for stage, step in STEPS.items():
            module, item = command(stage)
            for name in {"${runs}": ("one", "two"), "${datasets}": ("tiny", "other")}.get(step.get("foreach"), (item,)):
                importlib.import_module(module).main(load(), name)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    kept = ("state", "mlflow", "mlartifacts", "checks", "cache")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not str(path.relative_to(folder)).startswith(kept) and path.suffix != ".lock"
    }


def one_line(said: str, told: str) -> bool:
    """Whether a stage says only this; MLflow's store and what is kept in cache/ lie on the same disk, and cost a warning more."""
    more = r"warning: (MLflow at .* failed \(|cache/\S+: cannot be written)"
    lines = [line for line in said.splitlines() if not re.match(more, line)]
    return len(lines) == 1 and bool(re.match(rf"error: \S+: .*{told}", lines[0])) and ".tmp" not in said


@pytest.fixture
def disk(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project on a small disk of its own, as the current folder."""
    with small_disk(tmp_path / "disk", 6000):
        shutil.copytree(finished, tmp_path / "disk", dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path / "disk")
        yield tmp_path / "disk"
        os.chdir("/")


@contextmanager
def room(disk: Path, kilobytes: int) -> Iterator[None]:
    """Leave no more room than this."""
    with open("filler", "wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(disk).free - kilobytes * 1024)
    try:
        yield
    finally:
        Path("filler").unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let nothing be written."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.mark.parametrize("stage", STEPS)
def test_a_disk_that_takes_no_more_is_told_in_one_line_and_costs_nothing(
    stage: str, finished: Path, disk: Path
) -> None:
    whole = content(disk)
    for path in outputs(stage):
        remove(path)
    before = content(disk)
    kinds = [(f"{free} kB", room(disk, free), "(No space left|the disk has)") for free in (0, 12, 60, 200)]
    for kind, refusing, told in [("read-only", read_only(disk), "Read-only file system"), *kinds]:
        with refusing:
            status, said = run(stage)
        if status == 0 and kind not in ("read-only", "0 kB"):
            break
        assert status == 1 and one_line(said, told), (kind, said)
        assert not list(disk.rglob("*.tmp"))
        after = content(disk)
        assert {name: after.get(name) for name in before} == before
    assert run(stage) == (0, "")
    assert content(disk).keys() == whole.keys()


@pytest.mark.parametrize(
    ("stage", "folder"),
    [
        *(("train", folder) for folder in ("runs", "state", "curves")),
        ("evaluate", "evaluations"),
        *(("judge", folder) for folder in ("results", "metrics")),
        ("ensemble", "results"),
        ("members", "inputs/ensemble"),
        ("fetch", "downloads"),
        ("code", "inputs"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_named(
    stage: str, folder: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    remove(Path(folder))
    Path(folder).write_text("a file")
    status, said = run(stage)
    assert status == 1 and one_line(said, "(Not a directory|File exists)") and folder in said
    assert Path(folder).read_text() == "a file" and not list(tmp_path.rglob("*.tmp"))
