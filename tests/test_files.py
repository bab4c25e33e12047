"""Writing files: old or new and never half, nothing left behind; digests that depend on content alone."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256 as reference
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image

from itrcore.arrays import new_array
from itrcore.errors import DataError
from itrcore.files import digest, read_json, remove, replacing, sha256, write_json
from tests.support.small_disk import small_disk

DEAD = 2**22 + 1  # above Linux's largest process id


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise RuntimeError
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def copy_of(size: int, to: Path, as_folder: bool) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        source = Path(elsewhere, "a")
        source.write_bytes(bytes(size))
        if as_folder:
            shutil.copytree(elsewhere, to)
        else:
            shutil.copyfile(source, to)


MANY = np.random.default_rng(1).integers(0, 256, (1000, 1000), np.uint8)
# Each library that writes files here, and how it tells of a full disk differs.
WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("a" * MANY.size, "utf-8"),
    "npy": lambda path: np.save(open(path, "wb"), MANY),  # noqa: SIM115
    "memory map": lambda path: new_array(path, (500, 500)),
    "safetensors of numpy": lambda path: safetensors.numpy.save_file({"a": MANY}, path),
    "safetensors of torch": lambda path: safetensors.torch.save_file({"a": torch.from_numpy(MANY)}, path),
    "torch": lambda path: torch.save(torch.from_numpy(MANY), path, _use_new_zipfile_serialization=False),
    "parquet": lambda path: pq.write_table(pa.table({"a": MANY.ravel()}), path),
    "arrow": lambda path: pa.ipc.new_file(str(path), pa.schema([("a", pa.uint8())])).write(
        pa.table({"a": MANY.ravel()})
    ),
    "picture": lambda path: Image.fromarray(MANY).save(path, "PNG"),
    "JPEG": lambda path: Image.fromarray(MANY).save(path, "JPEG"),
    "copy": lambda path: copy_of(MANY.size, path, as_folder=False),
    "copy of a folder": lambda path: copy_of(MANY.size, path, as_folder=True),
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("full")
    with small_disk(folder, 64):
        yield folder


@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_writes_to_a_full_disk_the_error_names_the_file(writer: str, full: Path) -> None:
    path = full / "a.file"
    path.write_text("old")
    with pytest.raises(OSError) as raised, replacing(path) as temporary:
        WRITERS[writer](temporary)
    assert (raised.value.errno, str(raised.value.filename).rpartition("/a.file")[0]) == (errno.ENOSPC, str(full))
    assert path.read_text() == "old" and names(full) == ["a.file"]


def test_an_error_of_another_kind_stays_what_it_is(full: Path) -> None:
    gc.collect()  # a writer that failed before may hold its removed file, and the disk be full by that
    for error in (
        ValueError("no"),
        DataError("x: No space left on device"),
        OSError("no number"),
        FileNotFoundError(2, "x", "y"),
    ):
        with pytest.raises(type(error)) as raised, replacing(full / "a.file"):
            raise error
        assert raised.value is error


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "y").write_text("half")
        raise KeyboardInterrupt
    assert names(path) == ["x"] and names(tmp_path) == ["a"]


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a"
    for content in ("x", "y"):
        with replacing(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert names(path) == ["y"] and names(path.parent) == ["a"]


def test_a_folder_survives_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / "x").write_text("old")
    rename = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target) == path and Path(source).suffix == ".tmp":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.mkdir()
    assert names(path) == ["x"] and names(tmp_path) == ["a"]


def test_writing_nothing_is_an_error_that_keeps_the_old_output(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_output_and_its_rest_goes_with_the_next_write(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    code = f"""
from pathlib import Path
from itrcore.files import replacing
import time
with replacing(Path({str(path)!r})) as t:
    if {kind == "folder"}:
        t.mkdir()
        (t / "part").write_text("half")
    else:
        t.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as child:
        assert child.stdout is not None and child.stdout.readline() == b"writing\n"
        with replacing(path) as temporary:  # another writer at the same time leaves the living one's file alone
            temporary.write_text("other")
        assert names(tmp_path) == [f".out.{child.pid}.tmp", "out"]
        child.send_signal(signal.SIGKILL)
    assert path.read_text() == "other" and len(names(tmp_path)) == 2
    write_json(path, "new")
    assert read_json(path) == "new" and names(tmp_path) == ["out"]


def test_what_a_killed_replacement_of_a_folder_set_aside_goes_with_the_next_write(tmp_path: Path) -> None:
    (tmp_path / f".a.{DEAD}.old").mkdir()
    (tmp_path / f".a.{DEAD}.old" / "x").write_text("old")
    write_json(tmp_path / "a", 1)
    assert names(tmp_path) == ["a"]


def test_leftovers_of_other_paths_and_foreign_files_are_not_touched(tmp_path: Path) -> None:
    others = [f".ab.{DEAD}.tmp", ".a.notes.tmp", ".a.txt", f".a.{DEAD}.txt", f".b.{DEAD}.tmp"]
    for name in others:
        (tmp_path / name).write_text("")
    write_json(tmp_path / "a", 1)
    assert names(tmp_path) == sorted([*others, "a"])


def test_writing_breaks_links_rather_than_writing_through_them(tmp_path: Path) -> None:
    """DVC may link outputs to its cache: writing through a link would change the cache."""
    cache = tmp_path / "cache.json"
    write_json(cache, "cached")
    os.link(cache, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(cache)
    for name in ("hard", "soft"):
        write_json(tmp_path / name, "new")
        assert read_json(tmp_path / name) == "new" and read_json(cache) == "cached"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [-float("inf")]}])
def test_json_refuses_what_json_has_not_and_leaves_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


def test_json_keeps_unicode_as_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"größe": "café 犬"})
    assert "café 犬" in (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert read_json(tmp_path / "a.json") == {"größe": "café 犬"}


def test_digests(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == reference(data).hexdigest()
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1}) != digest({"a": 1, "b": [3, 2]})


def test_remove_takes_links_not_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("link", "absent"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]


def test_what_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    """Killed between its two renames: the old folder is aside, the new one not yet in place."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = tmp_path / f".out.{dead.pid}.old"
    old.mkdir()
    (old / "kept").write_text("old")
    (tmp_path / f".out.{dead.pid}.tmp").mkdir()
    with pytest.raises(RuntimeError), replacing(tmp_path / "out") as temporary:
        temporary.mkdir()
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "kept").read_text() == "old"


def test_what_a_library_writes_for_its_owner_alone_others_may_read_as_the_umask_says(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with replacing(tmp_path / "one.safetensors") as temporary:
        safetensors.numpy.save_file({"a": np.zeros(1)}, temporary)
    with replacing(tmp_path / "folder") as temporary:
        (temporary / "below").mkdir(parents=True)
        safetensors.numpy.save_file({"a": np.zeros(1)}, temporary / "below" / "one.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {plain.stat().st_mode}


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="neither a file nor a folder"), replacing(path):
            raise AssertionError("it is yielded")
    assert (tmp_path / "pipe").is_fifo() and Path("/dev/null").is_char_device()
