"""Folders of outputs may be links to a larger disk, which DVC would refuse after the work."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from itrcore import layout
from itrcore.settings.params import Params
from stages import run_stage
from tests.support.project import ROOT, Project, tiny_params
from tests.support.stamps import unstamped
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
def test_a_link_out_of_the_checkout_is_in_it_for_dvc(
    folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / folder).parent.mkdir(parents=True, exist_ok=True)
    (project / folder).symlink_to(project.parent / "large")
    for _ in range(2):
        assert started(project, monkeypatch)
    for below in layout.above_outputs("tiny"):
        if below.is_relative_to(folder):
            assert (project / below / ".gitignore").resolve().is_relative_to(project)
    assert not list(project.rglob("*.gitignore"))  # of folders that are in the checkout none is made


@pytest.mark.parametrize("folder", ["downloads", "state", "mlartifacts"])
def test_what_dvc_does_not_keep_stays_as_it_is(folder: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / folder).symlink_to(project.parent / "large")
    assert started(project, monkeypatch) and not list((project.parent / "large").iterdir())


def test_a_link_that_leads_nowhere_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data").symlink_to(project / "nowhere")
    assert not started(project, monkeypatch)
    assert unstamped(capsys.readouterr().err).startswith(
        f"error: data is a link to {project / 'nowhere'}, which is no folder"
    )


def test_a_checkout_that_is_reached_through_a_link_has_no_link_out_of_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "home").symlink_to(project)
    (project / "disk").mkdir()
    (project / "data").symlink_to(project / "disk")
    assert started(project.parent / "home", monkeypatch) and not list((project / "disk").iterdir())


@pytest.mark.slow
def test_dvc_keeps_what_lies_behind_links(tmp_path: Path) -> None:
    project = Project(tmp_path / "checkout", warm=True)
    project.write_params(tiny_params(project.params))
    for folder in ("data", "inputs", "state"):
        (tmp_path / "large" / folder).mkdir(parents=True)
        (project.folder / folder).symlink_to(tmp_path / "large" / folder)
    project.commit()
    project.repro("splits@scenes")
    assert (tmp_path / "large" / "data" / "scenes" / "captions.parquet").is_file()
    assert "didn't change" in project.repro("splits@scenes").stdout
    (tmp_path / "large" / "data" / "scenes" / "splits.json").unlink()
    project.dvc("checkout", "splits@scenes")
    assert (tmp_path / "large" / "data" / "scenes" / "splits.json").is_file()
    assert not {"?? data", "?? inputs", "?? state"} & set(project.run("git", "status", "--short").stdout.splitlines())
