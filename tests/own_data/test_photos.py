"""The data of experiments/f30k-photos: photos and captions are put together by their names, or nothing is written."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from itrcore.data import scan
from tests.support.project import ROOT

Make = Callable[[Path, Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The experiment's script, beside a copy of its list, for it writes there."""
    for name in ("make.py", "photos.csv"):
        shutil.copyfile(ROOT / "experiments" / "f30k-photos" / name, tmp_path / name)

    def run(photos: Path, captions: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "make.py"), "--photos", str(photos), "--captions", str(captions)]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_each_photo_has_its_own_captions_in_karpathys_split(make: Make, tmp_path: Path, shared_data: Path) -> None:
    captions = shared_data / "f30k_scan"
    done = make(shared_data / "f30k_photos" / "images_224", captions)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:3]] == ["train", "dev", "test"]
    with (shared_data / "f30k_photos" / "f30k_overlap.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["in_images_224"] == "1"]
    assert len(rows) == 1485
    names = scan.read_id_mapping(tmp_path / "photos" / "id_mapping.json")
    for split in ("train", "dev", "test"):
        everyone = dict(enumerate(scan.read_captions(captions, split)[1]))
        found = dict(zip(*scan.read_captions(tmp_path / "photos", split), strict=True))
        wanted = [row for row in rows if row["karpathy_split"] == split]
        by_name = {names[i]: texts for i, texts in found.items()}
        assert by_name == {row["flickr30k_file"]: everyone[int(row["scan_image_index"])] for row in wanted}
        for row in wanted[::50]:
            copied = tmp_path / "photos" / "pictures" / row["flickr30k_file"]
            original = shared_data / "f30k_photos" / "images_224" / row["flickr8k_file"]
            assert copied.read_bytes() == original.read_bytes()


def test_photos_that_are_not_there_are_one_line_and_nothing_is_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for folder, said in (("some", "1,485 of 1,485 photos are missing"), ("none", "no such folder")):
        done = make(tmp_path / folder, tmp_path)
        assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "photos").exists()
