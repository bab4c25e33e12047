"""What is written and downloaded, against figures worked out by hand."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

from itrcore.costs.disk import disks, needs
from itrcore.costs.downloads import missing
from itrcore.costs.plan import groups
from itrcore.fetch import hub, record
from itrcore.settings.load import load
from tests.support.tiny_project import ROOT, project, write_params

# Vectors of 16 numbers, of test and of dev: 8 images and 40 captions of each.
SCORES = 2 * 4 * 16 * (8 + 40)
Usage = namedtuple("Usage", "total used free")


def test_everything_that_a_fresh_project_writes(tmp_path: Path, monkeypatch: Any) -> None:
    params = write_params(tmp_path)  # 40 images of 6 × 16 regions, two runs, an ensemble
    monkeypatch.chdir(tmp_path)
    found = {need.name: need.bytes for need in needs(params, groups(params), [1000, 3000], 50)}
    data = 40 * (6 * 16 * 4 + 32 * 32 * 0.25 + 6 * 16 * 4)  # features and pictures as drawn, features in shards
    assert found == {
        "downloads": 50,
        "data": data,
        "runs": 4 * 4000,
        "state": 4 * 4000 + 6 * 4 * 3000,  # the best weights of both; of the larger one two states while one is written
        "evaluations": 2 * SCORES,
        "DVC's cache": data + 4 * 4000 + 2 * SCORES,
    }


def test_what_is_prepared_is_not_written_again_and_links_need_room_once(tmp_path: Path, monkeypatch: Any) -> None:
    params = project(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    for kind, linked in {"reflink,copy": False, "reflink,hardlink,symlink": True, "symlink": True}.items():
        (tmp_path / ".dvc/config").write_text(f'[core]\n    analytics = false\n[cache]\n    type = "{kind}"\n')
        found = {need.name: need.bytes for need in needs(params, groups(params), [1000, 1000], 0)}
        assert "data" not in found
        assert ("runs" in found) != linked
        assert found["DVC's cache"] == 2 * 4 * 1000 + 2 * SCORES


def test_each_disk_has_what_goes_there_through_links_too(tmp_path: Path, monkeypatch: Any) -> None:
    params = write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    other = Path("/dev/shm")
    (tmp_path / "runs").symlink_to(other)
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(10, 3, 7 if Path(where) == other else 5))
    found = {disk.free: {need.name for need in disk.needs} for disk in disks(needs(params, groups(params), [9, 9], 0))}
    assert found == {7: {"runs"}, 5: {"data", "state", "evaluations", "DVC's cache"}}


def test_what_is_recorded_or_on_this_disk_is_not_downloaded(tmp_path: Path, monkeypatch: Any) -> None:
    here = tmp_path / "here.zip"
    here.write_bytes(b"")
    params = write_params(
        tmp_path,
        {
            "downloads": {
                "d": {
                    "known": {"sources": ["https://example.org/a"], "bytes": 70},
                    "unknown": {"sources": ["kaggle:owner/set"]},
                    "done": {"sources": ["https://example.org/b"], "bytes": 9},
                    "local": {"sources": [str(here)], "bytes": 9},
                }
            }
        },
    )
    monkeypatch.chdir(tmp_path)
    record.write(Path("downloads/d.json"), {"done": {}})
    assert [(part.name, part.bytes) for part in missing(params, groups(params))] == [
        ("d.known", 70),
        ("d.unknown", None),
    ]


def test_weights_of_a_hub_are_downloaded_unless_they_are_here(tmp_path: Path, monkeypatch: Any) -> None:
    params = load(ROOT / "experiments/f30k/params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "is_here", lambda name, revision: False)
    assert missing(params, groups(params))[-1].name == "google-bert/bert-base-uncased"  # once, for eight runs
    monkeypatch.setattr(hub, "is_here", lambda name, revision: True)
    assert missing(params, groups(params))[-1].name == "f30k.glove"
