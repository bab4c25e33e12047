"""What two machines hand each other through a remote of DVC: outputs by their digests, and what stages made of the same inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.repo import Repo

from itrcore import remote
from itrcore.errors import ConfigError

STAGES = """
stages:
  data: {cmd: "mkdir data && echo a > data/a && echo b > data/b", outs: [data]}
  made: {cmd: echo made > made, deps: [data], outs: [made]}
  other: {cmd: echo other > other, deps: [data], outs: [other]}
"""


def machine(folder: Path, storage: Path) -> Path:
    """A checkout whose default remote is there."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text(STAGES, "utf-8")
    with Repo.init(str(folder), no_scm=True) as repo, repo.config.edit() as config:
        config["remote"]["lab"] = {"url": str(storage)}
        config["core"] |= {"remote": "lab", "analytics": False, "site_cache_dir": str(folder / "site")}
    return folder


def test_another_machine_gets_what_a_stage_reads_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine(tmp_path / "here", tmp_path / "lab"), machine(tmp_path / "there", tmp_path / "lab")
    monkeypatch.chdir(here)
    with Repo() as repo:
        repo.reproduce(["made", "other"])
    remote.send(["data"])
    given = remote.outputs(["data"])
    assert given.keys() == {"data"} and remote.default() == "lab"

    monkeypatch.chdir(there)
    (there / "data").mkdir()
    (there / "data" / "old").touch()
    remote.take(given)
    assert {path.name: path.read_text("utf-8") for path in (there / "data").iterdir()} == {"a": "a\n", "b": "b\n"}
    times = {path: path.stat().st_mtime_ns for path in (there / "data").iterdir()}
    remote.take(given)
    assert times == {path: path.stat().st_mtime_ns for path in (there / "data").iterdir()}
    assert remote.fetched(["made"]) == set()  # nobody has sent it
    with pytest.raises(ConfigError, match="DVC's remote has not all of data, made"):
        remote.take({**given, "made": "0" * 32})

    monkeypatch.chdir(here)
    remote.send(["made"])
    monkeypatch.chdir(there)
    assert remote.fetched(["made", "other"]) == {"made"}
    assert (there / "made").read_text("utf-8") == "made\n" and not (there / "other").exists()
    (there / "data" / "b").write_text("other data\n", "utf-8")
    assert remote.fetched(["made"]) == set()
