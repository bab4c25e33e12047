"""A user's features, an array or a folder: each image gets its own, and what does not fit is named with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itrcore.errors import DataError
from itrcore.own_data.features import open_features

NAMES = ["b.jpg", "a/a.jpg", "c"]
GOOD = np.random.default_rng(3).normal(size=(3, 2, 4)).astype(np.float32)


def save(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "f.npy", array)
    return folder / "f.npy"


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", ">f4"])
def test_a_row_belongs_to_the_image_at_its_place(dtype: str, tmp_path: Path) -> None:
    features = open_features(save(tmp_path, GOOD.astype(dtype)), NAMES)
    for position in (2, 0, 1):
        read = features.read(position)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, GOOD[position].astype(dtype).astype(np.float32))


def test_one_vector_per_image_is_one_region(tmp_path: Path) -> None:
    features = open_features(save(tmp_path, GOOD[:, 0]), NAMES)
    np.testing.assert_array_equal(features.read(1), GOOD[1, :1])


def test_a_folders_files_are_found_by_name_with_or_without_the_ending(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number, name in enumerate(("b.jpg.npy", "a/a.npy", "c.npy", "b.npy", "other.npy")):
        np.save(tmp_path / name, np.full((number + 1, 4), number, np.float64))
    features = open_features(tmp_path, NAMES)
    for position in range(3):
        np.testing.assert_array_equal(features.read(position), np.full((position + 1, 4), position, np.float32))
    assert features.unused == ["b.npy", "other.npy"]


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_a_number_that_is_none_is_named_with_its_row(value: float, tmp_path: Path) -> None:
    array = GOOD.astype(np.float64)
    array[1, 1, 3] = value
    features = open_features(save(tmp_path, array), NAMES)
    features.read(0)
    with pytest.raises(DataError) as caught:
        features.read(1)
    assert str(caught.value).startswith(f"{tmp_path}/f.npy, row 1: found {value}; expected finite numbers")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (GOOD.astype(int), r"row 0: found int64 of shape \(2, 4\) for an image; expected floats"),
        (GOOD[:, :0], r"row 0: found float32 of shape \(0, 4\) for an image"),
        (GOOD[:2], r"found 2 rows for 3 images in the captions"),
        (GOOD[:0], r"found 0 rows for 3 images in the captions"),
        (GOOD[:, None], r"found shape \(3, 1, 2, 4\)"),
        (np.asfortranarray(GOOD), "an array in Fortran order"),
        (np.array([None]), "holds pickled Python objects"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_features(save(tmp_path, array), NAMES).read(0)
    assert str(caught.value).startswith(f"{tmp_path}/f.npy")


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"f\.npy: no such file"):
        open_features(tmp_path / "f.npy", NAMES)
    with pytest.raises(DataError, match=r"no features of b\.jpg; expected b\.jpg\.npy, or the same without the ending"):
        open_features(tmp_path, NAMES).read(0)


def test_two_images_cannot_share_one_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD[0])
    with pytest.raises(DataError, match=r"a\.npy: a\.jpg and a\.png would both take it"):
        open_features(tmp_path, ["a.jpg", "b.jpg", "a.png"])
