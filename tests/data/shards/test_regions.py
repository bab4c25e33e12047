"""Shards: the same bytes every time, the source's values, and damage found and named before training."""

from __future__ import annotations

import io
import json
import os
import pickletools
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset

from itrcore.data import scan
from itrcore.data.shards import regions
from itrcore.data.shards.files import ShardFiles
from itrcore.data.shards.regions import FeatureStore, ShardInfo
from itrcore.errors import DataError
from itrcore.files import digest, read_json, sha256, write_json
from itrcore.settings.datasets import SPLITS
from tests.conftest import ROOT
from tests.support.scan_data import ScanFolder, image, write_scan_folder, write_shards


@pytest.fixture
def scan_folder(tmp_path: Path) -> ScanFolder:
    return write_scan_folder(tmp_path / "scan")


@pytest.fixture
def folder(scan_folder: ScanFolder, tmp_path: Path) -> Path:
    return write_shards(scan_folder, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# What is written


def test_shards_hold_so_many_samples_and_the_description_fits_the_files(folder: Path) -> None:
    described = read_json(folder / "shards.json")
    counts = {split: [file["samples"] for file in described["splits"][split]["shards"]] for split in SPLITS}
    assert counts == {"train": [3, 3, 1], "dev": [3], "test": [3, 1]}
    assert (described["features"], described["dtype"], described["width"]) == ("synthetic", "float32", 4)
    named = {"shards.json"}
    for split in SPLITS:
        assert described["splits"][split]["samples"] == sum(counts[split])
        assert described["splits"][split]["index_sha256"] == sha256(folder / f"{split}.arrow")
        named.add(f"{split}.arrow")
        for file in described["splits"][split]["shards"]:
            path = folder / file["file"]
            assert (path.stat().st_size, sha256(path)) == (file["bytes"], file["sha256"])
            named.add(path.name)
    assert set(contents(folder)) == named
    assert ShardInfo.read(folder).digest == described.pop("digest") == digest(described)


_WRITE = """
import os, sys
from pathlib import Path
os.umask(0o077)
sys.path.insert(0, ".")
from tests.support.scan_data import ScanFolder, write_shards
write_shards(ScanFolder(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_another_process_at_another_time_writes_the_same_bytes(
    scan_folder: ScanFolder, folder: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "5", "TZ": "Asia/Tokyo", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _WRITE, str(scan_folder.path), str(tmp_path / "again")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert contents(tmp_path / "again" / "shards") == contents(folder)
    with tarfile.open(folder / "train-00000.tar") as tar:
        assert {(member.mtime, member.uid, member.gid) for member in tar} == {(0, 0, 0)}


def test_another_value_gives_another_digest(scan_folder: ScanFolder, folder: Path, tmp_path: Path) -> None:
    scan_folder.features["dev"][2, 2, 3] += 1
    np.save(scan_folder.path / "dev_ims.npy", scan_folder.features["dev"])
    assert ShardInfo.read(write_shards(scan_folder, tmp_path / "b")).digest != ShardInfo.read(folder).digest


def test_nothing_is_pickled(folder: Path) -> None:
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                data = tar.extractfile(member).read()  # type: ignore[union-attr]
                if member.name.endswith(".json"):
                    json.loads(data)
                else:
                    np.load(io.BytesIO(data), allow_pickle=False)
                with pytest.raises(ValueError):
                    list(pickletools.genops(data))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_webdataset_streams_what_was_written(scan_folder: ScanFolder, tmp_path: Path, dtype: str) -> None:
    boxes = np.arange(7 * 3 * 4, dtype=np.float32).reshape(7, 3, 4)
    np.save(scan_folder.path / "train_boxes.npy", boxes)
    folder = write_shards(scan_folder, tmp_path / "boxed", dtype)
    samples = [sample for path in sorted(folder.glob("train-*.tar")) for sample in regions.samples(path)]
    assert [sample["json"]["image_id"] for sample in samples] == scan_folder.ids["train"]
    for i, sample in enumerate(samples):
        assert sample["json"]["captions"] == scan_folder.captions["train"][i]
        assert sample["json"]["caption_ids"] == [2 * i, 2 * i + 1] and sample["json"]["file_name"] is None
        assert sample["regions"].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(sample["regions"], scan_folder.features["train"][i].astype(dtype))
        np.testing.assert_array_equal(sample["boxes"], boxes[i])
    # Plain webdataset, as any other project would open them.
    urls = [str(path) for path in sorted(folder.glob("train-*.tar"))]
    streamed = list(webdataset.WebDataset(urls, shardshuffle=False).decode(only=["json"]))
    assert [sample["json"]["image_id"] for sample in streamed] == scan_folder.ids["train"]


@pytest.mark.parametrize(
    "left", [{"RANK": "0", "WORLD_SIZE": "2"}, {"WORKER": "1", "NUM_WORKERS": "2"}], ids=["ranks", "workers"]
)
def test_a_shard_is_streamed_whole_whatever_a_launcher_left_in_the_environment(
    folder: Path, left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [sample["key"] for sample in regions.samples(folder / "train-00000.tar")]
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert [sample["key"] for sample in regions.samples(folder / "train-00000.tar")] == whole != []


@pytest.mark.parametrize("name", ["{a,b}", "a::b", "what?", "itr%20main", "file:x"])
def test_a_shard_is_streamed_from_a_folder_of_any_name(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, name)
    whole = [sample["key"] for sample in regions.samples(folder / "train-00000.tar")]
    assert [sample["key"] for sample in regions.samples(Path(name) / "train-00000.tar")] == whole != []


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_random_access_gives_the_sources_values(
    scan_folder: ScanFolder, tmp_path: Path, dtype: str, repeated: bool
) -> None:
    features = scan_folder.features["train"]
    if repeated:
        np.save(scan_folder.path / "train_ims.npy", np.repeat(features, 2, axis=0))
    store = FeatureStore(write_shards(scan_folder, tmp_path / dtype, dtype), "train")
    store.verify()
    assert (len(store), store.image_ids, store.width) == (7, scan_folder.ids["train"], 4)
    for rows in ([6, 0, 3, 3, 2, 5], [4], np.arange(7)):
        got, lengths = store.gather(rows)
        assert got.dtype == np.float32 and lengths.tolist() == [3] * len(rows)
        np.testing.assert_array_equal(got, features[rows].astype(dtype).astype(np.float32))
    if dtype == "float16":
        np.testing.assert_allclose(store.gather(np.arange(7))[0], features, rtol=2**-11)


def test_splits_may_have_other_numbers_of_regions(scan_folder: ScanFolder, tmp_path: Path) -> None:
    np.save(scan_folder.path / "dev_ims.npy", np.ones((3, 5, 4), np.float32))
    folder = write_shards(scan_folder, tmp_path / "out")
    assert FeatureStore(folder, "dev").gather([2, 0])[0].shape == (2, 5, 4)
    assert FeatureStore(folder, "train").gather([2, 0])[0].shape == (2, 3, 4)


# Damage


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_in_any_shard_is_found_and_named(folder: Path, part: float) -> None:
    path = folder / "train-00001.tar"
    flip(path, int(part * path.stat().st_size))
    with pytest.raises(DataError, match=r"train-00001\.tar: this file is damaged: its bytes have changed"):
        FeatureStore(folder, "train").verify()
    FeatureStore(folder, "dev").verify()


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer"])
def test_a_shard_of_another_size_is_found_when_opened(folder: Path, damage: str) -> None:
    path = folder / "train-00002.tar"
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "truncated": whole[:-512], "longer": whole + b"\0"}[damage])
    with pytest.raises(DataError, match=r"train-00002\.tar: this file is damaged: .*Run: itr heal"):
        FeatureStore(folder, "train")


def test_a_shard_cut_short_while_in_use_is_an_error_and_no_crash(folder: Path) -> None:
    store = FeatureStore(folder, "train")
    os.truncate(folder / "train-00001.tar", 1024)
    assert store.gather([0, 6])[0].shape == (2, 3, 4)
    with pytest.raises(DataError, match=r"train-00001\.tar: this file is damaged: it was cut short while in use"):
        store.gather([5])


def test_more_shards_are_read_than_files_may_be_open(tmp_path: Path) -> None:
    """All splits at once, as a training and its evaluation have them; beside the shards kept open and without them."""
    made = write_scan_folder(tmp_path / "scan", {"train": 100, "dev": 90, "test": 3}, 1, (2, 4))
    folder = write_shards(made, tmp_path / "out", per_shard=1)
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))  # by tests before, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * used + 60, hard))
    try:
        for split in ("train", "dev"):
            store = FeatureStore(folder, split)
            rows = np.random.default_rng(0).permutation(len(store))
            np.testing.assert_array_equal(store.gather(rows)[0], made.features[split][rows])
        held = [FeatureStore(folder, split) for split in ("train", "dev", "test") for _ in range(2)]
        np.testing.assert_array_equal(held[0].gather([99, 0])[0], made.features["train"][[99, 0]])
        (folder / "train-00099.tar").unlink()
        with pytest.raises(DataError, match=r"train-00099\.tar: this file is damaged: it was removed while in use"):
            held[0].gather([99])
        spare = []
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    spare.append(os.open(folder, os.O_RDONLY))
            with pytest.raises(DataError, match=r"train-00098\.tar: cannot be opened \(Too many open files\)"):
                held[0].gather([98])
        finally:
            for descriptor in spare:
                os.close(descriptor)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_a_store_that_is_let_go_closes_its_files(folder: Path) -> None:
    descriptors = ShardFiles(folder, "train").descriptors
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "flipped"])
def test_a_damaged_index_is_found_when_opened(folder: Path, damage: str) -> None:
    """A wrong offset in the index would give a method other numbers without a word."""
    path = folder / "train.arrow"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        flip(path, whole.index((101).to_bytes(8, "little")))  # the second image's id
    else:
        path.write_bytes(b"" if damage == "empty" else whole[:-8])
    with pytest.raises(DataError, match=r"train\.arrow: this file is damaged"):
        FeatureStore(folder, "train")


def test_an_index_of_another_writing_is_found(scan_folder: ScanFolder, folder: Path, tmp_path: Path) -> None:
    other = write_shards(scan_folder, tmp_path / "other", per_shard=2)
    (folder / "train.arrow").write_bytes((other / "train.arrow").read_bytes())
    with pytest.raises(DataError, match=r"train\.arrow: this file is damaged"):
        FeatureStore(folder, "train")


def test_a_changed_description_is_found(folder: Path) -> None:
    path = folder / "shards.json"
    described = read_json(path)
    write_json(path, {**described, "features": "bottom-up attention"})  # simulated features passed off as real ones
    for opening in (lambda: ShardInfo.read(folder), lambda: FeatureStore(folder, "train")):
        with pytest.raises(DataError, match=r"shards\.json: this file is damaged"):
            opening()
    for content in ("", "{", "[]", "{}"):
        path.write_text(content)
        with pytest.raises(DataError, match=r"shards\.json"):
            ShardInfo.read(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"shards\.json: cannot be read"):
        FeatureStore(folder, "train")


def test_the_array_read_by_the_shards_is_the_readers(scan_folder: ScanFolder, folder: Path) -> None:
    """Reader and store, side by side: row i of the store is image i of SCAN's file."""
    for name in SPLITS:
        split, store = scan.open_split(scan_folder.path, name), FeatureStore(folder, name)
        for i in range(len(split)):
            np.testing.assert_array_equal(store.gather([i])[0][0], image(split, i))
