"""What descriptions and indexes say is checked before anything is read by it: digests fit everywhere here."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itrcore.data.shards.images import ImageShardInfo, ImageStore
from itrcore.data.shards.regions import FeatureStore, ShardInfo
from itrcore.errors import DataError
from itrcore.files import digest, read_json, sha256, write_json
from tests.support.picture_data import PictureFolder
from tests.support.scan_data import write_scan_folder, write_shards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """7 images of train in shards of 3, 3 and 1; 3 regions of 4 float32 values each."""
    return write_shards(write_scan_folder(tmp_path / "scan"), tmp_path / "out")


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    return PictureFolder(tmp_path).write(tmp_path / "pictures-out")


def describe(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = read_json(folder / "shards.json")
    del value["digest"]
    change(value)
    write_json(folder / "shards.json", {**value, "digest": digest(value)})


def index(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / "train.arrow"
    table = change(pa.ipc.open_file(path.read_bytes()).read_all())
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    fit(folder)


def fit(folder: Path) -> None:
    describe(folder, lambda value: value["splits"]["train"].update(index_sha256=sha256(folder / "train.arrow")))


def with_value(name: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        values = table[name].to_pylist()
        values[row] = value
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    return change


# Descriptions


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("dtype", "O", "dtype is 'O'; expected float16 or float32"),
        ("dtype", "float64", "dtype is 'float64'; expected"),
        ("dtype", "int32", "dtype is 'int32'; expected"),
        ("dtype", None, "dtype is null; expected"),
        ("dtype", ["float32"], "dtype is a list; expected"),
        ("width", 0, "width is 0; expected a whole number from 1"),
        ("width", -4, "width is -4; expected"),
        ("width", 2**40, "width is 1099511627776; expected"),
        ("width", "4", "width is '4'; expected"),
        ("width", True, "width is true; expected"),
        ("features", None, "features is null; expected text"),
        ("splits", None, "splits is null; expected an object"),
        ("splits", {}, r"it describes the splits \(none\); expected train, dev, test"),
    ],
)
def test_a_description_that_cannot_be_is_refused(folder: Path, name: str, value: object, found: str) -> None:
    describe(folder, lambda described: described.update({name: value}))
    for opening in (lambda: ShardInfo.read(folder), lambda: FeatureStore(folder, "train")):
        with pytest.raises(DataError, match=rf"shards\.json: {found}.*Run: dvc repro"):
            opening()


@pytest.mark.parametrize("name", ["features", "dtype", "width", "splits"])
def test_a_description_that_lacks_something_is_refused(folder: Path, name: str) -> None:
    describe(folder, lambda described: described.pop(name))
    with pytest.raises(DataError, match=rf"shards\.json: shards\.json has no {name}; expected"):
        FeatureStore(folder, "train")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"samples": -7}, "samples of train is -7; expected a whole number from 0"),
        ({"samples": 8}, "samples of train is 8; expected 7, as its shards have together"),
        ({"index_sha256": None}, "index_sha256 of train is null; expected text"),
        ({"shards": None}, "shards of train is null; expected a list"),
        ({"shards": [None]}, "shard 0 of train is null; expected an object"),
        ({"bytes": -1}, "bytes of shard 0 of train is -1; expected"),
        ({"bytes": 1e300}, r"bytes of shard 0 of train is 1e\+300; expected"),
        ({"bytes": 2**60}, "bytes of shard 0 of train is 1152921504606846976; expected"),
        ({"file": "../train-00000.tar"}, "it names other files than shards"),
        ({"file": 5}, "file of shard 0 of train is 5; expected text"),
        ({"sha256": "../x"}, r"sha256 of shard 0 of train is '\.\./x'; expected 64 hexadecimal digits"),
    ],
)
def test_a_split_that_cannot_be_is_refused(folder: Path, change: dict[str, Any], found: str) -> None:
    def apply(described: dict[str, Any]) -> None:
        split = described["splits"]["train"]
        (split if set(change) & set(split) else split["shards"][0]).update(change)

    describe(folder, apply)
    with pytest.raises(DataError, match=rf"shards\.json: {found}"):
        FeatureStore(folder, "train")


@pytest.mark.parametrize(
    ("converted", "found"),
    [
        (None, "converted is null; expected an object"),
        ({"L": {"pictures": -1, "first": []}}, "pictures of L of converted is -1; expected"),
        ({"L": {"pictures": 1, "first": [None]}}, "a name in first of L of converted is null; expected text"),
        ({"L": {"pictures": 1}}, "L of converted has no first; expected"),
    ],
)
def test_a_description_of_pictures_is_checked_too(image_folder: Path, converted: object, found: str) -> None:
    describe(image_folder, lambda described: described.update(converted=converted))
    for opening in (lambda: ImageShardInfo.read(image_folder), lambda: ImageStore(image_folder, "train")):
        with pytest.raises(DataError, match=rf"shards\.json: {found}"):
            opening()


# Indexes


@pytest.mark.parametrize(
    ("name", "row", "value", "found"),
    [
        ("offset", 0, -1, "offset is -1 in row 0; expected a place from which the sample lies within its shard"),
        ("offset", 2, 2**62, "offset is 4611686018427387904 in row 2; expected a place from which"),
        ("offset", 1, 0, "offset is 0 in row 1; expected a place behind the sample before it"),
        ("n_regions", 6, -1, "n_regions is -1 in row 6; expected 0 or more"),
        ("n_regions", 2, 2**31 - 1, "offset is .* in row 2; expected a place from which the sample lies within"),
        ("shard", 0, -1, "shard is -1 in row 0; expected from 0 to 2"),
        ("shard", 6, 3, "shard is 3 in row 6; expected from 0 to 2"),
        ("shard", 6, 1, "its rows are of other shards"),
        ("shard", 0, 1, "its rows are of other shards"),
        ("key", 3, None, "key is missing in 1 rows; expected key in every row"),
        ("offset", 3, None, "offset is missing in 1 rows"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(
    folder: Path, name: str, row: int, value: object, found: str
) -> None:
    index(folder, with_value(name, row, value))
    with pytest.raises(DataError, match=rf"train\.arrow: {found}"):
        FeatureStore(folder, "train")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("bytes", -1, "bytes is -1 in row 1; expected 0 or more"),
        ("bytes", 2**63 - 1, "offset is .* in row 1; expected a place from which the sample lies within"),
        ("offset", -(2**63), "offset is -9223372036854775808 in row 1"),
        ("width", 0, "width is 0 in row 1; expected 1 or more"),
        ("height", -1, "height is -1 in row 1; expected 1 or more"),
        ("mode", None, "mode is missing in 1 rows"),
    ],
)
def test_an_index_of_pictures_is_checked_too(image_folder: Path, name: str, value: object, found: str) -> None:
    index(image_folder, with_value(name, 1, value))
    with pytest.raises(DataError, match=rf"train\.arrow: {found}"):
        ImageStore(image_folder, "train")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda table: table.slice(1), "it has 6 rows; expected 7, as shards.json says"),
        (
            lambda table: table.drop_columns(["n_regions"]),
            r"it has the columns key \(string\), .*; expected key, image_id",
        ),
        (
            lambda table: table.set_column(3, "offset", table["offset"].cast(pa.float64())),
            r"it has the columns .*offset \(double\)",
        ),
    ],
)
def test_an_index_of_another_form_is_refused(folder: Path, change: Callable[[pa.Table], pa.Table], found: str) -> None:
    index(folder, change)
    with pytest.raises(DataError, match=rf"train\.arrow: {found}"):
        FeatureStore(folder, "train")


def test_a_malformed_index_is_refused_before_its_texts_are_read(folder: Path, image_folder: Path) -> None:
    """The keys' places lead out of the file: followed, they would end the process."""
    right = np.arange(0, 50, 7, dtype=np.int32).tobytes()
    wrong = np.array([0, 7, 14, 21, 28, 2**31 - 200, 2**31 - 100, 2**31 - 50], np.int32).tobytes()
    for place, store in ((folder, FeatureStore), (image_folder, ImageStore)):
        path = place / "train.arrow"
        assert path.read_bytes().count(right) == 1
        path.write_bytes(path.read_bytes().replace(right, wrong))
        fit(place)
        with pytest.raises(DataError, match=r"train\.arrow: it is malformed \(.*\); expected an Arrow file"):
            store(place, "train")


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"<!DOCTYPE html><p>Log in"])
def test_a_file_that_is_no_index_is_refused(folder: Path, content: bytes) -> None:
    (folder / "train.arrow").write_bytes(content)
    fit(folder)
    with pytest.raises(DataError, match=r"train\.arrow: it is malformed \(.*\); expected an Arrow file"):
        FeatureStore(folder, "train")


# Boxes: the index says nothing of them


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    scan_folder = write_scan_folder(tmp_path / "boxed")
    np.save(scan_folder.path / "train_boxes.npy", np.ones((7, 3, 4), np.float32))
    return write_shards(scan_folder, tmp_path / "boxed-out")


def test_boxes_that_claim_to_be_larger_than_their_shard_are_refused(boxed: Path) -> None:
    path = boxed / "train-00000.tar"
    with tarfile.open(path) as tar:
        member = next(member for member in tar if member.name.endswith("boxes.npy"))
    data = bytearray(path.read_bytes())
    start = member.offset
    member.size = 2**50
    data[start : start + 512] = member.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"train-00000\.tar, row 0: its bytes have changed \(boxes of 1125899906842624"):
        FeatureStore(boxed, "train").boxes(0)


def test_boxes_of_another_shape_are_refused(boxed: Path) -> None:
    path = boxed / "train-00000.tar"
    path.write_bytes(path.read_bytes().replace(b"'shape': (3, 4), }", b"'shape': (4, 3), }", 1))
    with pytest.raises(DataError, match=r"train-00000\.tar, row 0: its bytes have changed \(boxes \(4, 3\)"):
        FeatureStore(boxed, "train").boxes(0)
