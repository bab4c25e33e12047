"""Features that a user brings, one array or a folder of them, read image by image so that memory stays flat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from itrcore.arrays import open_array
from itrcore.errors import DataError


class Features(Protocol):
    """The features of a table's images, by their position in it.

    path: what the user gave, for messages; unused: names of features that no image of the table has
    """

    path: Path
    unused: list[str]

    def read(self, position: int) -> np.ndarray:
        """One image's features, float32 (n_regions, width), read now; `DataError` where they are missing or unfit."""


def open_features(path: Path, names: Sequence[str]) -> Features:
    """Features of the images of these names: an array with a row for each, or a folder with a file for each.

    `DataError` where the array does not fit the images, or a file in the folder would be that of two images.
    """
    return _Folder(path, names) if path.is_dir() else _Array(path, names)


class _Array:
    """(n, n_regions, width), or (n, width) for one region each; rows in the order of the images."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.unused = path, list[str]()
        array = open_array(path)
        if array.ndim not in (2, 3):
            raise DataError.at(path, f"found shape {array.shape}", "(images, regions, width) or (images, width)")
        if len(array) != len(names):
            raise DataError.at(
                path,
                f"found {len(array)} rows for {len(names)} images in the captions",
                "one row per image, in the order in which the captions first name them",
                do="Or give a folder that has a .npy for each image.",
            )
        if not array.flags.c_contiguous:
            raise DataError.at(
                path,
                "an array in Fortran order, each image's numbers all over the file",
                "rows one after the other",
                do="Save it with numpy.save(path, numpy.ascontiguousarray(array)).",
            )
        assert isinstance(array, np.memmap)
        self._shape, self._dtype, self._start = array.shape[1:], array.dtype, array.offset

    def read(self, position: int) -> np.ndarray:
        # Not through the mapped array: its pages would count as this process's memory until it ends.
        count = int(np.prod(self._shape))
        offset = self._start + position * count * self._dtype.itemsize
        row = np.fromfile(self.path, self._dtype, count, offset=offset).reshape(self._shape)
        return _checked(row, self.path, position)


class _Folder:
    """`<image name>.npy`, or `<image name without its ending>.npy`: (n_regions, width), or (width,) for one region."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self._names = names
        listed = {file.relative_to(path).as_posix() for file in path.rglob("*.npy")}
        self._files = [_first_in(listed, f"{name}.npy", str(PurePosixPath(name).with_suffix(".npy"))) for name in names]
        self._owner: dict[str, str] = {}
        for file, name in zip(self._files, names, strict=True):
            if file and self._owner.setdefault(file, name) != name:
                raise DataError.at(
                    path / file,
                    f"{self._owner[file]} and {name} would both take it",
                    "a file for each image",
                    do=f"Name them {self._owner[file]}.npy and {name}.npy.",
                )
        self.unused = sorted(listed - set(self._owner))

    def read(self, position: int) -> np.ndarray:
        file = self._files[position]
        if file is None:
            name = self._names[position]
            raise DataError.at(self.path, f"no features of {name}", f"{name}.npy, or the same without the ending")
        return _checked(np.array(open_array(self.path / file)), self.path / file)


def _first_in(listed: set[str], *candidates: str) -> str | None:
    return next((name for name in candidates if name in listed), None)


def _checked(array: np.ndarray, path: Path, row: int | None = None) -> np.ndarray:
    if array.ndim not in (1, 2) or not array.size or not np.issubdtype(array.dtype, np.floating):
        found = f"found {array.dtype} of shape {array.shape} for an image"
        raise DataError.at(path, found, "floats (regions, width) or (width,)", row)
    with np.errstate(over="ignore"):
        features: np.ndarray = np.atleast_2d(array).astype(np.float32)
    if not np.isfinite(features).all():
        found = f"found {np.atleast_2d(array)[~np.isfinite(features)][0]}"
        raise DataError.at(path, found, "finite numbers that float32 can hold", row, "Extract these features again.")
    return features
