"""Writing shards in parallel processes: the bytes of one, nothing done twice, one clear error, no process left."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from itrcore.data.shards import writing
from itrcore.data.shards.writing import Sample
from itrcore.errors import DataError
from itrcore.files import read_json
from tests.conftest import ROOT

SPLITS = {"train": 23, "dev": 4}
PER_SHARD = 4
NAMES = [f"dev-{0:05d}.tar", *(f"train-{i:05d}.tar" for i in range(6))]
SCHEMA = pa.schema([("key", pa.string()), ("shard", pa.int32()), ("offset", pa.int64()), ("square", pa.int64())])


@dataclass(frozen=True)
class Numbers:
    """Samples made of their number. `at`: row of train → what happens there; `wait`: train waits for this file at row 12."""

    at: Mapping[int, str]
    wait: Path | None = None

    def shard(self, split: str, rows: range) -> NumbersShard:
        return NumbersShard(self, split, rows)


@dataclass(frozen=True)
class NumbersShard:
    numbers: Numbers
    split: str
    rows: range

    def __iter__(self) -> Iterator[Sample]:
        for row in self.rows:
            if self.split == "train":
                while self.numbers.wait and row == 12 and not self.numbers.wait.exists():
                    time.sleep(0.02)
                if row in self.numbers.at:
                    misfortune(self.numbers.at[row], row)
            yield Sample(f"{row:03d}", members(self.split, row), "values.bin", {"square": row**2})


def members(split: str, row: int) -> dict[str, list[Any]]:
    values = memoryview(bytes([row % 7]) * (500 * row)).cast("B")
    return {"values.bin": [b"head", values], "json": [json.dumps({"of": f"{split} {row}"}).encode()], "a.bin": [b""]}


def misfortune(kind: str, row: int) -> None:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise DataError.at("numbers", "found a bad one", "a good one", row)


def write(
    work: Path, numbers: Numbers, processes: int | None = 2, **identity: Any
) -> tuple[Path, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    finished = writing.write(
        work / "numbers",
        identity,
        SPLITS,
        PER_SHARD,
        numbers,
        SCHEMA,
        lambda indexes: {"odd": sum(len(index) % 2 for index in indexes.values())},
        lambda *done: seen.append(done),
        processes,
    )
    return finished, seen


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """By this process alone."""
    return contents(write(tmp_path_factory.mktemp("one"), Numbers({}), 1)[0])


def finished_shards(work: Path) -> dict[str, tuple[int, int]]:
    """Shards that have their record: file name → inode and time."""
    states = {}
    for record in work.glob("numbers-*/records/*.json"):
        path = record.parent.parent / "shards" / f"{record.stem}.tar"
        states[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return states


# What is written


def test_shards_are_webdatasets_to_the_byte(expected: dict[str, bytes], tmp_path: Path) -> None:
    import webdataset  # brings torch, which the processes that import this file would load too

    for split, size in SPLITS.items():
        for number, start in enumerate(range(0, size, PER_SHARD)):
            path = tmp_path / f"{split}-{number:05d}.tar"
            with open(path, "wb") as handle, webdataset.TarWriter(handle, encoder=False, mtime=0) as tar:
                for row in range(start, min(start + PER_SHARD, size)):
                    tar.write({"__key__": f"{row:03d}"} | {k: b"".join(v) for k, v in members(split, row).items()})
            assert expected[path.name] == path.read_bytes()
    assert sorted(name for name in expected if name.endswith(".tar")) == NAMES


def test_the_index_points_to_the_last_piece_of_its_member(tmp_path: Path) -> None:
    folder, _ = write(tmp_path, Numbers({}), 1)
    with pa.memory_map(str(folder / "train.arrow")) as source:
        index = pa.ipc.open_file(source).read_all()
    assert index.schema == SCHEMA
    for row, entry in enumerate(index.to_pylist()):
        with tarfile.open(folder / f"train-{entry['shard']:05d}.tar") as tar:
            assert tar.getmember(f"{row:03d}.values.bin").offset_data + len(b"head") == entry["offset"]
        assert (entry["key"], entry["shard"], entry["square"]) == (f"{row:03d}", row // PER_SHARD, row**2)
    assert read_json(folder / "shards.json")["odd"] == 1


def test_several_processes_write_what_one_writes(expected: dict[str, bytes], tmp_path: Path) -> None:
    folder, seen = write(tmp_path, Numbers({}), 3)
    assert contents(folder) == expected
    assert [total for _, total in seen] == [27] * len(seen)
    assert [done for done, _ in seen] == [0, 4, 8, 12, 16, 20, 23, 27]
    writing.move(folder, tmp_path / "out" / "shards")
    assert contents(tmp_path / "out" / "shards") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_few_samples_are_written_by_this_process(expected: dict[str, bytes], tmp_path: Path) -> None:
    class Here(Numbers):
        """No other process can unpickle it."""

    assert contents(write(tmp_path, Here({}), None)[0]) == expected


# Errors, and going on after them


def test_of_several_bad_samples_the_first_shards_is_named_and_finished_shards_stay(
    expected: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^numbers, row 9: found a bad one; expected a good one\.$"):
        write(tmp_path, Numbers({21: "bad", 9: "bad"}))
    kept = finished_shards(tmp_path)
    assert {NAMES[1], NAMES[2]} <= set(kept) and not {NAMES[3], NAMES[6]} & set(kept)
    folder, seen = write(tmp_path, Numbers({}))
    assert contents(folder) == expected
    assert {name: finished_shards(tmp_path)[name] for name in kept} == kept
    assert seen[0] == (4 * len(kept), 27)


def test_a_killed_process_is_one_clear_error(expected: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a process that writes shards was killed.*Run it again: finished shards are"):
        write(tmp_path, Numbers({17: "killed"}))
    kept = finished_shards(tmp_path)
    folder, _ = write(tmp_path, Numbers({}))
    assert contents(folder) == expected
    assert {name: finished_shards(tmp_path)[name] for name in kept} == kept


_RUN = """
import sys
from pathlib import Path
from tests.data.shards.test_writing import Numbers, write
write(Path(sys.argv[1]), Numbers({}, Path(sys.argv[1]) / "go on"))
"""


@pytest.fixture
def halfway(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A process that writes with two others, when three shards are done and the fourth waits, and those others."""
    process = subprocess.Popen([sys.executable, "-c", _RUN, str(tmp_path)], cwd=ROOT)
    wait_until(lambda: len(finished_shards(tmp_path)) == 6)
    yield process, psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_writing_leaves_no_process_and_continues_later(
    halfway: tuple[subprocess.Popen[bytes], list[psutil.Process]],
    expected: dict[str, bytes],
    tmp_path: Path,
    way: signal.Signals,
) -> None:
    process, others = halfway
    kept = finished_shards(tmp_path)
    if way == signal.SIGINT:  # as a terminal does on Ctrl-C: to all of them
        for other in others:
            other.send_signal(way)
    process.send_signal(way)
    assert process.wait(60) != 0
    _, alive = psutil.wait_procs(others, timeout=60)
    assert len(others) >= 2 and not alive
    assert finished_shards(tmp_path) == kept
    folder, seen = write(tmp_path, Numbers({}), 1)
    assert seen == [(23, 27), (27, 27)]
    assert contents(folder) == expected
    assert {name: finished_shards(tmp_path)[name] for name in kept} == kept


def test_a_full_disk_is_one_clear_error(expected: dict[str, bytes], tmp_path: Path) -> None:
    """Here: files of more than 40 KB are refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(DataError, match=r"train-00003\.tar: cannot be written \(File too large\); expected room"):
            write(tmp_path, Numbers({}), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.rglob("*.tmp"))
    assert contents(write(tmp_path, Numbers({}), 1)[0]) == expected


@pytest.mark.parametrize("damage", ["cut", "gone", "no record"])
def test_only_a_shard_of_the_recorded_size_counts_as_finished(
    expected: dict[str, bytes], tmp_path: Path, damage: str
) -> None:
    folder, _ = write(tmp_path, Numbers({}), 1)
    path = folder / NAMES[3]
    if damage == "cut":
        os.truncate(path, 512)
    elif damage == "gone":
        path.unlink()
    else:
        (folder.parent / "records" / f"{path.stem}.json").unlink()
    assert write(tmp_path, Numbers({}), 1)[1] == [(23, 27), (27, 27)]
    assert contents(folder) == expected


def test_work_of_another_identity_is_not_used_and_removed(tmp_path: Path) -> None:
    (tmp_path / "others-0").mkdir()
    first, _ = write(tmp_path, Numbers({}), 1, dtype="float16")
    second, seen = write(tmp_path, Numbers({}), 1, dtype="float32")
    assert first != second and not first.exists() and seen[0] == (0, 27)
    assert (tmp_path / "others-0").exists()
