"""Folders of outputs that are links to a larger disk: refused before the work where DVC would refuse them after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itrcore import layout
from itrcore.settings.params import Params
from stages import run_stage
from tests.support.project import ROOT
from tests.support.tiny_project import write_params


def started(project: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a stage that is run in the project begins its work."""
    calls: list[Params] = []
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.argv", ["stage"])
    try:
        run_stage(lambda params, _: calls.append(params))
    except SystemExit as ended:
        assert ended.code == 1
    return bool(calls)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    (tmp_path / "large").mkdir()
    write_params(tmp_path / "checkout")
    return tmp_path / "checkout"


def test_every_folder_above_an_output_that_dvc_keeps_is_known() -> None:
    steps = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    above = set()
    for step in (step.get("do", step) for step in steps.values()):
        for entry in (*step.get("outs", []), *step.get("metrics", []), *step.get("plots", [])):
            path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            if options.get("cache") is not False:
                path = path.replace("${item.data}", "tiny").replace("${key}", "tiny")
                above |= {folder for folder in Path(path).parents if folder != Path()}
    assert above == set(layout.above_outputs("tiny"))


@pytest.mark.parametrize("folder", layout.above_outputs("tiny"), ids=str)
def test_a_link_out_of_the_checkout_is_refused_before_the_work(
    folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / folder).parent.mkdir(parents=True, exist_ok=True)
    (project / folder).symlink_to(project.parent / "large")
    assert not started(project, monkeypatch)
    said = capsys.readouterr().err
    assert (
        said.startswith(f"error: {folder} is a link to {project.parent / 'large'}, outside") and said.count("\n") == 1
    )
    (project / folder).unlink()
    (project / "disk").mkdir()
    (project / folder).symlink_to(project / "disk")  # inside: DVC takes that
    assert started(project, monkeypatch)


@pytest.mark.parametrize("folder", ["downloads", "state", "mlartifacts"])
def test_what_dvc_does_not_keep_may_be_a_link(folder: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / folder).symlink_to(project.parent / "large")
    assert started(project, monkeypatch)


def test_a_checkout_that_is_reached_through_a_link_is_no_link_out_of_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "home").symlink_to(project)
    (project / "disk").mkdir()
    (project / "data").symlink_to(project / "disk")
    assert started(project.parent / "home", monkeypatch)
