"""Archives and folders: only what is asked for is unpacked; nothing is written outside; damage and bombs are named."""

from __future__ import annotations

import io
import stat
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import DataError
from itrcore.fetch.parts import fetch
from itrcore.progress import Watcher
from itrcore.settings.downloads import DownloadSettings
from tests.support.fetch_server import content, tar_of, zip_of

FILES = {
    "data/f30k_precomp/train_ims.npy": content(50_000),
    "data/f30k_precomp/ids/train_ids.txt": b"1\n2\n",
    "data/coco_precomp/train_ims.npy": content(5_000, seed=1),
    "__MACOSX/data/f30k_precomp/._train_ims.npy": b"Finder",
    "data/f30k_precomp/.DS_Store": b"Finder",
}
WANTED = {"precomp/train_ims.npy", "precomp/ids/train_ids.txt"}


def get(folder: Path, source: Path, **settings: Any) -> set[str]:
    """The files that a download of one part leaves, relative to the download's folder."""
    fetch("d", {"part": DownloadSettings(sources=[str(source)], **settings)}, folder)
    return files_in(folder / "d")


def files_in(folder: Path) -> set[str]:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return files - {".fetched.json"}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("d.zip", zip_of(FILES)),
        ("d.tar", tar_of(FILES, "w")),
        ("d.tar.gz", tar_of(FILES, "w:gz")),
        ("d.tar.bz2", tar_of(FILES, "w:bz2")),
        ("d.txz", tar_of(FILES, "w:xz")),
        ("no_ending", zip_of(FILES)),
    ],
)
def test_only_the_entries_asked_for_are_unpacked_below_their_common_folder(
    tmp_path: Path, name: str, data: bytes
) -> None:
    source = write(tmp_path / name, data)
    assert get(tmp_path, source, into="precomp", only=["*f30k_precomp/*"]) == WANTED
    assert (tmp_path / "d" / "precomp" / "train_ims.npy").read_bytes() == FILES["data/f30k_precomp/train_ims.npy"]


def test_without_patterns_all_of_an_archive_comes_without_what_macos_adds(tmp_path: Path) -> None:
    source = write(tmp_path / "d.zip", zip_of(FILES))
    assert get(tmp_path, source) == {
        "f30k_precomp/train_ims.npy", "f30k_precomp/ids/train_ids.txt", "coco_precomp/train_ims.npy",
    }  # fmt: skip


def test_one_entry_lands_under_its_own_name(tmp_path: Path) -> None:
    source = write(tmp_path / "d.zip", zip_of(FILES))
    assert get(tmp_path, source, only=["*train_ids.txt"]) == {"train_ids.txt"}


def test_a_file_that_only_looks_like_a_zip_inside_stays_a_file(tmp_path: Path) -> None:
    """npz files are zip files; unpacking them would lose them."""
    source = write(tmp_path / "features.npz", zip_of({"a.npy": b"1"}))
    assert get(tmp_path, source) == {"features.npz"}


def test_an_archive_inside_a_folder_is_looked_into_where_nothing_else_matches(tmp_path: Path) -> None:
    (tmp_path / "kaggle").mkdir()
    write(tmp_path / "kaggle" / "a.zip", zip_of({"other.txt": b"1"}))
    write(tmp_path / "kaggle" / "data.zip", zip_of(FILES))
    assert get(tmp_path, tmp_path / "kaggle", into="precomp", only=["*f30k_precomp/*"]) == WANTED


def test_no_match_names_the_pattern_and_some_entries(tmp_path: Path) -> None:
    source = write(tmp_path / "d.zip", zip_of(FILES))
    with pytest.raises(DataError, match=r"no entry matches \['\*\.json'\]; it holds data/f30k_precomp/train_ims\.npy"):
        get(tmp_path, source, only=["*.json"])


EVIL = ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:\\evil.txt", "..\\evil.txt", "C:evil.txt"]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_an_entry_that_points_outside_refuses_the_whole_archive(tmp_path: Path, name: str, make: Any) -> None:
    source = write(tmp_path / ("d.zip" if make is zip_of else "d.tar.gz"), make({"good.txt": b"1", name: b"2"}))
    with pytest.raises(DataError, match="points outside its folder; nothing of this archive is unpacked") as caught:
        get(tmp_path, source, only=["good.txt"])
    assert repr(name) in str(caught.value)
    assert not (tmp_path / "d").exists() and not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("evil")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match="'evil' is a link or a device"):
        get(tmp_path, write(tmp_path / "d.tar", buffer.getvalue()))
    assert not (tmp_path / "d").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'evil' is a link or a device"):
        get(tmp_path, write(tmp_path / "d.zip", buffer.getvalue()))


def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")
    with pytest.raises(DataError, match=r"holds 'a\.txt' twice"):
        get(tmp_path, write(tmp_path / "d.zip", buffer.getvalue()))


@pytest.mark.parametrize(
    ("name", "data"), [("d.zip", zip_of(FILES)), ("d.tar.gz", tar_of(FILES)), ("d.tar", tar_of(FILES, "w"))]
)
def test_a_truncated_archive_leaves_no_half_file(tmp_path: Path, name: str, data: bytes) -> None:
    source = write(tmp_path / name, data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{name} is a damaged archive"):
        get(tmp_path, source)
    assert not (tmp_path / "d").exists() or not files_in(tmp_path / "d")


def test_an_entry_with_damaged_bytes_is_found_by_its_crc_and_not_put_in_place(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.npy": content(50_000)}))
    data[30_000] ^= 1
    with pytest.raises(DataError, match="damaged archive"):
        get(tmp_path, write(tmp_path / "d.zip", bytes(data)))
    assert not files_in(tmp_path / "d")


def test_an_archive_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.txt": b"x"}))
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 1_000)  # the size in the archive's directory
    with pytest.raises(DataError, match=r"a\.txt has 1 bytes where 1,000 were announced"):
        get(tmp_path, write(tmp_path / "d.zip", bytes(data)))
    assert not files_in(tmp_path / "d")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, where this user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_an_archive_that_unpacks_to_more_than_the_disk_has_is_refused_before_it_is(
    tmp_path: Path, small_disk: Path
) -> None:
    source = write(tmp_path / "d.zip", zip_of({"small.txt": b"1", "zeros": bytes(3_000_000)}))
    with pytest.raises(DataError, match=r"bytes free; expected 3,000,001 for what is still to be written"):
        get(small_disk, source)
    assert not files_in(small_disk / "d")
    assert get(small_disk, source, only=["small.txt"]) == {"small.txt"}


def test_a_disk_that_fills_up_while_unpacking_keeps_what_was_unpacked(tmp_path: Path, small_disk: Path) -> None:
    class Filling(Watcher):
        def show(self, what: str, done: int, total: int | None) -> None:
            (small_disk / f"other{done}").write_bytes(bytes(500_000))  # someone else writes too

    source = write(tmp_path / "d.zip", zip_of({"a": content(300_000), "b": content(300_000)}))
    with pytest.raises(DataError, match="the disk is full"):
        fetch("d", {"part": DownloadSettings(sources=[str(source)])}, small_disk, Filling())
    assert files_in(small_disk / "d") == {"a"}
    for other in small_disk.glob("other*"):
        other.unlink()
    assert get(small_disk, source) == {"a", "b"}
