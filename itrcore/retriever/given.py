"""Pictures and region features that a caller hands over, as stores from which batches are made as from shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from itrcore.data import pictures
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.errors import DataError, first_line

Picture = str | os.PathLike[str] | Image.Image
_GIVEN = Path("the images given")  # for messages, in place of a folder


class GivenPictures(ImageStore):
    """Files, each read when it is needed, and pictures in memory."""

    def __init__(self, given: Sequence[Picture]) -> None:
        self.folder, self.image_ids, self._given = _GIVEN, list(range(len(given))), given

    def image(self, row: int) -> Image.Image:
        """As 8-bit RGB. `DataError` names the file, or the number of a picture in memory, that cannot be decoded."""
        given = self._given[row]
        if isinstance(given, str | os.PathLike):
            path = Path(given)
            return pictures.decode(pictures.read_bytes(path), path)
        if not isinstance(given, Image.Image):
            raise DataError.at(_GIVEN, f"a {type(given).__name__}", "a path or a PIL picture", row)
        try:
            return pictures.rgb(given)
        except Exception as error:  # damaged files, which Pillow only reads now, make it raise errors of many types
            where = getattr(given, "filename", "") or _GIVEN
            raise DataError.at(where, f"cannot be decoded ({first_line(error)})", "a picture", row) from error


class GivenFeatures(FeatureStore):
    """Region features in memory."""

    def __init__(self, given: np.ndarray | Sequence[np.ndarray], width: int) -> None:
        """given: (n, regions, width), or n arrays (regions, width). `DataError` names the first of another form."""
        for row, image in enumerate(map(np.asarray, given)):
            if image.ndim != 2 or image.shape[1] != width or not len(image) or image.dtype.kind not in "fiu":
                form, kind = " × ".join(map(str, image.shape)), image.dtype
                expected = f"numbers, regions × {width}: the width of the features that the run was trained on"
                raise DataError.at(_GIVEN, f"an array of {form} {kind}", expected, row)
        self.folder, self.image_ids, self.width = _GIVEN, list(range(len(given))), width
        self.n_regions = np.array([len(image) for image in given])
        self._given = given

    def gather(
        self, rows: Sequence[int] | np.ndarray, keep: np.ndarray | None = None, stored: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of shards, in float32. `DataError` names an image with values that are not finite."""
        lengths = self.n_regions[rows]
        out = np.zeros((len(rows), int(lengths.max()), self.width), np.float32)
        for image, row in zip(out, rows, strict=True):
            values = self._given[row]
            image[: len(values)] = values
            if not np.isfinite(image).all():
                raise DataError.at(_GIVEN, "features that are not finite", "finite numbers", int(row))
        return out, lengths
