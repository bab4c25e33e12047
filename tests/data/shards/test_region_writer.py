"""Region shards from a SCAN folder: the source's values rounded once, bad ones refused by file and row, nothing stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from itrcore.data.shards import region_writer, regions
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError
from itrcore.settings.datasets import RegionShardSettings
from tests.conftest import ROOT
from tests.support.scan_data import OWN_NAMES, ScanFolder, write_scan_folder, write_shards, write_table


@pytest.fixture
def scan_folder(tmp_path: Path) -> ScanFolder:
    return write_scan_folder(tmp_path / "scan")


# What is stored


def test_float16_is_numpys_for_every_value_and_every_border_between_two() -> None:
    stored = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = np.sort(stored[np.isfinite(stored)].astype(np.float32))
    middle = (values[1:] + values[:-1]) / 2
    near = [np.nextafter(middle, np.float32(to)) for to in (-np.inf, np.inf)]
    last = np.float32([65519.996, 1e-45, 1e-38])  # the largest that fits; float32's own subnormal numbers
    random = np.random.default_rng(0).integers(0, 0x477FF000, 500_000, dtype=np.uint32).view(np.float32)
    for part in (np.concatenate([values, middle, *near, last, random, -random, -last]), random, np.abs(values)):
        converted = region_writer.convert(part, "float16")
        assert converted is not None
        np.testing.assert_array_equal(converted.view(np.uint16), part.astype(np.float16).view(np.uint16))
    for value in (65520, np.inf, np.nan):
        for sign in (1, -1):
            assert region_writer.convert(np.float32([0, sign * value]), "float16") is None


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("source", ["<f2", "<f8", ">f4"])
def test_any_floating_point_source_is_rounded_once(
    scan_folder: ScanFolder, tmp_path: Path, source: str, dtype: str
) -> None:
    features = scan_folder.features["train"].astype(source) * 1.0000001
    np.save(scan_folder.path / "train_ims.npy", features.astype(source))
    (sample, *_) = regions.samples(write_shards(scan_folder, tmp_path / "out", dtype) / "train-00000.tar")
    np.testing.assert_array_equal(sample["regions"], features.astype(source).astype(dtype)[0])


def test_features_in_fortran_order_are_read_as_what_they_are(scan_folder: ScanFolder, tmp_path: Path) -> None:
    np.save(scan_folder.path / "train_ims.npy", np.asfortranarray(scan_folder.features["train"]))
    store = FeatureStore(write_shards(scan_folder, tmp_path / "out"), "train")
    np.testing.assert_array_equal(store.gather(np.arange(7))[0], scan_folder.features["train"])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_padding_is_left_out(scan_folder: ScanFolder, tmp_path: Path, dtype: str) -> None:
    counts = np.array([3, 1, 2, 3, 2, 1, 3])
    padded = scan_folder.features["train"].copy()
    for row, count in enumerate(counts):
        padded[row, count:] = np.nan  # whatever it holds
    np.save(scan_folder.path / "train_ims.npy", padded)
    np.save(scan_folder.path / "train_counts.npy", counts)
    np.save(scan_folder.path / "train_boxes.npy", np.ones((7, 3, 4), np.float32))
    folder = write_shards(scan_folder, tmp_path / "out", dtype)
    store = FeatureStore(folder, "train")
    assert store.n_regions.tolist() == counts.tolist()
    np.testing.assert_array_equal(store.gather([2])[0][0], padded[2, :2].astype(dtype))
    stored = [sample for path in sorted(folder.glob("train-*.tar")) for sample in regions.samples(path)]
    assert [len(sample["boxes"]) for sample in stored] == counts.tolist()


# What is refused when writing


@pytest.mark.parametrize("repeated", [False, True])
def test_a_value_too_large_for_float16_names_the_files_row(
    scan_folder: ScanFolder, tmp_path: Path, repeated: bool
) -> None:
    features = scan_folder.features["train"].copy()
    features[4, 1, 1] = 70000
    np.save(scan_folder.path / "train_ims.npy", np.repeat(features, 2, axis=0) if repeated else features)
    row = 8 if repeated else 4
    with pytest.raises(DataError, match=rf"train_ims\.npy, row {row}: 70000 does not fit float16; .*to float32"):
        write_shards(scan_folder, tmp_path / "half", "float16")
    assert FeatureStore(write_shards(scan_folder, tmp_path / "full", "float32"), "train").gather([4])[0].max() == 70000


def test_a_value_too_large_for_float32_is_not_blamed_on_float16(scan_folder: ScanFolder, tmp_path: Path) -> None:
    np.save(scan_folder.path / "train_ims.npy", np.full((7, 3, 4), 1e39))
    with pytest.raises(
        DataError, match=r"1e\+39 does not fit float32; expected values within ±3\.40282e\+38"
    ) as caught:
        write_shards(scan_folder, tmp_path / "out")
    assert "Set shards.regions.dtype" not in str(caught.value)


def test_a_caption_table_of_another_folder_is_refused(scan_folder: ScanFolder, tmp_path: Path) -> None:
    table = write_table(scan_folder, tmp_path / "captions.parquet")
    (scan_folder.path / "dev_ids.txt").write_text("107\n107\n109\n109\n108\n108\n")
    settings = RegionShardSettings(dtype="float32", samples_per_shard=3)
    with pytest.raises(DataError, match=r"captions\.parquet: other images than .*dev_ims\.npy"):
        region_writer.write(scan_folder.path, OWN_NAMES, table, "synthetic", settings, tmp_path / "work")


@pytest.mark.parametrize("damage", ["width", "ids"])
def test_splits_that_do_not_go_together_are_refused(scan_folder: ScanFolder, tmp_path: Path, damage: str) -> None:
    """Also here, where features are read, and not only in stage raw: a pointed-to folder can change in between."""
    if damage == "width":
        np.save(scan_folder.path / "test_ims.npy", np.ones((4, 3, 5), np.float32))
    else:
        (scan_folder.path / "dev_ids.txt").write_text("107\n107\n101\n101\n109\n109\n")
    with pytest.raises(DataError, match=r"test_ims\.npy: found feature width 5|dev_ids\.txt: image id 101"):
        write_shards(scan_folder, tmp_path / "out")


@pytest.mark.parametrize("split", ["train", "test"])
def test_other_features_in_an_images_second_row_are_refused(
    scan_folder: ScanFolder, tmp_path: Path, split: str
) -> None:
    repeated = np.repeat(scan_folder.features[split], 2, axis=0)
    repeated[7, 2, 3] += 1e-6
    np.save(scan_folder.path / f"{split}_ims.npy", repeated)
    with pytest.raises(DataError, match=rf"{split}_ims\.npy, row 7: found other features than in row 6"):
        write_shards(scan_folder, tmp_path / "out", "float16")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_names_its_row(
    scan_folder: ScanFolder, tmp_path: Path, value: float, dtype: str
) -> None:
    scan_folder.features["test"][3, 2, 3] = value
    np.save(scan_folder.path / "test_ims.npy", scan_folder.features["test"])
    with pytest.raises(DataError, match=rf"test_ims\.npy, row 3: found {value}; expected finite numbers"):
        write_shards(scan_folder, tmp_path / "out", dtype)


# Going on, and doing it again


def write_again(scan_folder: ScanFolder, tmp_path: Path, dtype: Literal["float16", "float32"] = "float32") -> list[str]:
    """Write into the same work folder; which shards were written now."""
    settings = RegionShardSettings(dtype=dtype, samples_per_shard=3)
    table = write_table(scan_folder, tmp_path / "captions.parquet")
    before = {path: path.stat().st_ino for path in (tmp_path / "state").glob("*/shards/*.tar")}
    finished = region_writer.write(
        scan_folder.path, OWN_NAMES, table, "synthetic", settings, tmp_path / "state" / "regions", processes=1
    )  # fmt: skip
    assert len(list((tmp_path / "state").iterdir())) == 1
    return [path.name for path in sorted(finished.glob("*.tar")) if before.get(path) != path.stat().st_ino]


def test_finished_shards_are_used_only_while_nothing_has_changed_that_decides_them(
    scan_folder: ScanFolder, tmp_path: Path
) -> None:
    every = [f"dev-{0:05d}.tar", *(f"test-{i:05d}.tar" for i in range(2)), *(f"train-{i:05d}.tar" for i in range(3))]
    assert write_again(scan_folder, tmp_path) == every
    assert write_again(scan_folder, tmp_path) == []
    assert write_again(scan_folder, tmp_path, "float16") == every
    scan_folder.features["dev"][2, 2, 3] += 1
    np.save(scan_folder.path / "dev_ims.npy", scan_folder.features["dev"])
    assert write_again(scan_folder, tmp_path, "float16") == every
    captions = scan_folder.path / "train_caps.txt"
    captions.write_text(captions.read_text().replace("says 0", "says none"))
    assert write_again(scan_folder, tmp_path, "float16") == every
    np.save(scan_folder.path / "test_boxes.npy", np.ones((4, 3, 4), np.float32))
    assert write_again(scan_folder, tmp_path, "float16") == every


def test_writing_processes_do_not_load_torch() -> None:
    """It is 140 MB in each of them."""
    code = "import sys, itrcore.data.shards.region_writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
