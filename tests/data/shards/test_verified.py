"""A shard is read for its checksum once, and again as soon as anything has touched it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from itrcore import announce
from itrcore.data.shards import verified
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError
from itrcore.files import read_json, sealed, write_sealed
from itrcore.files import sha256 as sha256_of
from itrcore.pool import pool
from tests.support.scan_data import write_scan_folder, write_shards

SHARDS = ["train-00000.tar", "train-00001.tar", "train-00002.tar"]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read for their checksums. What is written is settled at once."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(verified, "sha256", noted)
    monkeypatch.setattr(verified, "SETTLED", 0.0)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = write_shards(write_scan_folder(tmp_path / "scan"), tmp_path / "out")
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return shards


def verify(folder: Path) -> None:
    FeatureStore(folder, "train").verify(folder.parent / "records")


def record(folder: Path) -> Path:
    return folder.parent / "records" / "train.json"


def flip(path: Path) -> None:
    """In place: the same inode and size."""
    with open(path, "r+b") as file:
        file.seek(700)
        byte = file.read(1)[0]
        file.seek(700)
        file.write(bytes([byte ^ 1]))


def test_untouched_shards_are_read_once_for_each_record(folder: Path, read: list[str]) -> None:
    for _ in range(3):
        verify(folder)
    assert read == SHARDS
    FeatureStore(folder, "dev").verify(folder.parent / "records")
    verify(folder)
    assert read == [*SHARDS, "dev-00000.tar"]
    read.clear()
    FeatureStore(folder, "train").verify()
    assert read == SHARDS  # without a record, all


@pytest.mark.parametrize("quiet", [False, True])
def test_a_shard_that_was_changed_in_place_is_found_even_with_its_old_time(
    folder: Path, read: list[str], quiet: bool
) -> None:
    verify(folder)
    path = folder / SHARDS[1]
    before = path.stat()
    flip(path)
    if quiet:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    read.clear()
    for _ in range(2):
        with pytest.raises(DataError, match=r"train-00001\.tar: this file is damaged: its bytes have changed"):
            verify(folder)
    assert read == [SHARDS[1]] * 2
    flip(path)
    verify(folder)
    assert read == [SHARDS[1]] * 3


def test_another_file_in_its_place_is_read_again(folder: Path, read: list[str]) -> None:
    verify(folder)
    read.clear()
    path = folder / SHARDS[2]
    shutil.copy2(path, folder / "copy")  # the same bytes and time
    os.replace(folder / "copy", path)
    verify(folder)
    assert read == [SHARDS[2]]
    moved = folder.rename(folder.with_name("moved"))  # the same files, elsewhere
    verify(moved)
    assert read == [SHARDS[2]]
    shutil.copytree(moved.parent, moved.parent.with_name("copied"), copy_function=shutil.copy2)
    time.sleep(0.02)
    verify(moved.parent.with_name("copied") / "moved")
    assert read == [SHARDS[2], *SHARDS]


def test_a_link_counts_as_what_it_leads_to(folder: Path, read: list[str], tmp_path: Path) -> None:
    """As DVC links files out of its cache."""
    verify(folder)
    read.clear()
    path = folder / SHARDS[0]
    path.rename(tmp_path / "cached")
    path.symlink_to(tmp_path / "cached")
    verify(folder)
    verify(folder)
    assert read == [SHARDS[0]]  # renaming has touched it
    flip(tmp_path / "cached")
    with pytest.raises(DataError, match="damaged"):
        verify(folder)


def test_a_file_that_was_written_just_before_is_read_the_next_time_too(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change once more within the same tick of the clock."""
    monkeypatch.setattr(verified, "SETTLED", 10.0)
    verify(folder)
    verify(folder)
    assert read == SHARDS * 2
    monkeypatch.setattr(verified, "SETTLED", 0.0)
    os.utime(folder / SHARDS[0], (time.time() + 3600,) * 2)  # or written before the clock was set back
    verify(folder)
    verify(folder)
    assert read == [*SHARDS * 3, SHARDS[0]]


def test_a_file_that_changes_while_it_is_read_is_not_recorded(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(path: Path) -> str:
        found = sha256_of(path)
        path.touch()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(verified, "sha256", touched)
        verify(folder)
    time.sleep(0.02)
    verify(folder)
    assert read == SHARDS


def test_what_was_verified_before_a_stop_is_kept(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(path: Path) -> str:
        if path.name == SHARDS[2]:
            raise KeyboardInterrupt
        return sha256_of(path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(verified, "sha256", stopped)
        verify(folder)
    verify(folder)
    assert read == [SHARDS[2]]


def test_what_takes_long_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(announce, "PATIENCE", 0.01)
    monkeypatch.setattr(verified, "sha256", lambda path: (time.sleep(0.05), sha256_of(path))[1])
    verify(folder)
    assert capsys.readouterr().out == "Verifying 3 shards of train, 0.0 GB\n"


@pytest.mark.parametrize("days", [-1, 31])
def test_a_record_holds_for_weeks_and_not_after_the_clock_was_set_back(
    folder: Path, read: list[str], days: float
) -> None:
    verify(folder)
    write_sealed(record(folder), {state: at - days * 86_400 for state, at in sealed(read_json(record(folder))).items()})
    verify(folder)
    verify(folder)
    assert read == SHARDS * 2
    assert len(sealed(read_json(record(folder)))) == 3  # of before, none is left


def wrong_times(data: bytes, path: Path) -> None:
    write_sealed(path, dict.fromkeys(sealed(read_json(path)), "today"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, path: path.write_bytes(data.replace(b"1", b"2", 1)),
        lambda data, path: path.write_bytes(data[:100]),
        lambda data, path: path.write_bytes(b""),
        lambda data, path: path.write_bytes(b"[]"),
        wrong_times,
    ],
)
def test_a_damaged_record_is_a_warning_and_all_is_read(
    folder: Path, read: list[str], damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(folder)
    damage(record(folder).read_bytes(), record(folder))
    verify(folder)
    assert read == SHARDS * 2
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and len(said.splitlines()) == 1
    assert "train.json: cannot be read" in said and "these shards are read again" in said
    verify(folder)
    assert read == SHARDS * 2 and capsys.readouterr().err == ""


def test_a_record_that_cannot_be_written_is_a_warning(
    folder: Path, read: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "records").write_text("a file in the folder's place")
    verify(folder)
    said = capsys.readouterr().err
    assert read == SHARDS and "train.json: cannot be written" in said
    flip(folder / SHARDS[0])
    with pytest.raises(DataError, match="damaged"):
        verify(folder)


def _verify_settled(folder: Path) -> None:
    verified.SETTLED = 0.0
    for _ in range(20):
        verify(folder)


def test_processes_may_verify_at_the_same_time(folder: Path, read: list[str]) -> None:
    with pool(2) as workers:
        list(workers.map(_verify_settled, [folder] * 2))
    verify(folder)
    assert read == [] and sorted(path.name for path in record(folder).parent.iterdir()) == ["train.json"]
