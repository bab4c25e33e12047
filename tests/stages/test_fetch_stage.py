"""The stage as a command: what it prints, what it refuses, killed in the middle, two at once on one archive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.fetch_server import Served, content, serving, zip_of
from tests.support.project import ROOT
from tests.support.stamps import unstamped

ARCHIVE = zip_of({"f30k/ims.npy": content(2_000_000), "coco/ims.npy": content(1_000_000, seed=1)})


def project(folder: Path, url: str) -> dict[str, Any]:
    """A folder with a params.yaml of two downloads from one archive; returns what starts the stage there."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    params["downloads"] = {
        name: {"features": {"sources": [f"{url}data.zip"], "into": "precomp", "only": [f"{name}/*"], "timeout": 5.0}}
        for name in ("f30k", "coco")
    }
    with open(folder / "params.yaml", "w", encoding="utf-8") as handle:
        yaml.dump(params, handle)
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    return {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"}}


def command(name: str) -> list[str]:
    return [sys.executable, "-m", "stages.fetch", name]


def unfinished(folder: Path) -> list[Path]:
    return list(folder.glob("downloads/.partial/*/data.zip.part"))


def test_it_prints_a_line_per_file_and_part_and_knows_its_downloads(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        where = project(tmp_path, server.url)
        done = subprocess.run(command("f30k"), **where, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = unstamped(done.stdout).splitlines()
        assert lines[0] == f"data.zip: {len(ARCHIVE):,} bytes from {server.url}data.zip"
        assert lines[1].startswith("features: 1 files, 2,000,000 bytes in downloads/f30k/precomp, from http")
        assert (tmp_path / "downloads" / "f30k.json").exists()
        wrong = subprocess.run(command("f30"), **where, capture_output=True, text=True)
    assert wrong.returncode == 1 and "did you mean 'f30k'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_fetch_killed_in_the_middle_of_a_download_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE, slow=0.01)) as server:
        where = project(tmp_path, server.url)
        process = subprocess.Popen(command("f30k"), **where, stdout=subprocess.DEVNULL)
        while not unfinished(tmp_path) or unfinished(tmp_path)[0].stat().st_size < 200_000:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = unfinished(tmp_path)[0].stat().st_size
        server.files["data.zip"].slow = 0
        server.asked.clear()
        subprocess.run(command("f30k"), **where, check=True, stdout=subprocess.DEVNULL)
        assert server.asked == [("data.zip", f"bytes={kept}-")]
    assert (tmp_path / "downloads" / "f30k" / "precomp" / "ims.npy").read_bytes() == content(2_000_000)


def test_two_fetches_at_once_download_their_common_archive_once(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE, slow=0.05)) as server:
        where = project(tmp_path, server.url)
        where["env"]["PYTHONUNBUFFERED"] = "1"
        with open(tmp_path / "output", "ab") as output:
            both = [subprocess.Popen(command(name), **where, stdout=output) for name in ("f30k", "coco")]
        while b"waiting for another fetch" not in (tmp_path / "output").read_bytes():
            assert [process.poll() for process in both] == [None, None]
            time.sleep(0.01)
        server.files["data.zip"].slow = 0
        assert [process.wait(60) for process in both] == [0, 0]
        assert len(server.asked) == 1
    assert (tmp_path / "downloads" / "coco" / "precomp" / "ims.npy").read_bytes() == content(1_000_000, seed=1)


@pytest.mark.parametrize("again", [True, False])
def test_a_download_folder_that_is_a_link_to_another_disk_is_filled(tmp_path: Path, again: bool) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "f30k").symlink_to(tmp_path / "large")
    with serving(data_zip=Served(ARCHIVE)) as server:
        where = project(tmp_path, server.url)
        subprocess.run(command("f30k"), **where, check=True, stdout=subprocess.DEVNULL)
        if again:
            shutil.rmtree(tmp_path / "large" / "precomp")
            subprocess.run(command("f30k"), **where, check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "large" / "precomp" / "ims.npy").read_bytes() == content(2_000_000)
    assert (tmp_path / "downloads" / "f30k").is_symlink()
