"""Writing the shards of `itrcore/data/shards/images.py`: every picture of the caption table, its file's bytes as they are.

Each picture is decoded once on the way, to be sure that it can be; what is written is the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from itrcore.data import captions as caption_table
from itrcore.data import pictures
from itrcore.data.captions import Image
from itrcore.data.shards import writing
from itrcore.data.shards.images import INDEX_SCHEMA
from itrcore.errors import DataError
from itrcore.files import digest, remove, sha256
from itrcore.progress import Count
from itrcore.settings.datasets import SPLITS, ImageShardSettings

_NAMED = 5  # of the pictures with the same problem


class UnusablePictures(DataError):
    """Pictures of the caption table are missing, damaged or of a kind that is refused."""


def write(
    table: Path,
    folder: Path,
    settings: ImageShardSettings,
    work: Path,
    progress: Count | None = None,
    processes: int | None = None,
) -> Path:
    """Write shards of all pictures of the caption table; returns their folder, for `writing.move`.

    folder: of the pictures; `pictures.find` says where in it they may lie
    work, progress, processes: see `writing.write`
    `UnusablePictures`, after all have been looked at, counts those that cannot be used and says why the first few cannot;
    nothing is kept then. `DataError` where the table or the folder is missing, or an image has no file name.
    """
    if not folder.is_dir():
        raise DataError.at(folder, "no such folder", "the data set's pictures", do="Correct where the source has them.")
    splits = {split: caption_table.read(table, split) for split in SPLITS}
    samples = _Samples(folder, _file_names(table, splits), splits, settings.max_megapixels)
    identity = {
        "table": sha256(table),
        "pictures": digest([_state(folder, name) for names in samples.file_names.values() for name in names]),
        "max_megapixels": settings.max_megapixels,
    }
    sizes = {split: len(images) for split, images in splits.items()}
    try:
        return writing.write(
            work,
            identity,
            sizes,
            settings.samples_per_shard,
            samples,
            INDEX_SCHEMA,
            samples.describe,
            progress,
            processes,
        )
    except UnusablePictures:
        # Mended pictures have another identity: these shards would never be used.
        for left in work.parent.glob(f"{work.name}-*"):
            remove(left)
        raise


def _file_names(table: Path, splits: Mapping[str, Sequence[Image]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for split, images in splits.items():
        names[split] = [image.file_name for image in images if image.file_name is not None]
        if len(names[split]) < len(images):
            raise DataError.at(
                table,
                f"{len(images) - len(names[split]):,} images of {split} have no file name",
                "one for every image",
                do="Put id_mapping.json (image id → file name) beside the captions and run: dvc repro",
            )
    return names


def _state(folder: Path, file_name: str) -> list[Any]:
    """What differs when a picture has changed: name, size and time of its file."""
    try:
        stat = pictures.find(folder, file_name).stat()
    except (DataError, OSError):
        return [file_name]  # named with the others, once all have been looked at
    return [file_name, stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class _Samples:
    """All pictures of a data set; see `writing.Samples`."""

    folder: Path
    file_names: Mapping[str, Sequence[str]]
    splits: Mapping[str, Sequence[Image]]
    max_megapixels: float

    def shard(self, split: str, rows: range) -> _Shard:
        return _Shard(self.folder, rows, self.splits[split][rows.start : rows.stop], self.max_megapixels)

    def describe(self, indexes: Mapping[str, pa.Table]) -> dict[str, Any]:
        """Kinds of pictures that are converted when they are read. `UnusablePictures` where some cannot be used."""
        modes: dict[str | None, list[str]] = {}
        for split, index in indexes.items():
            for name, mode in zip(self.file_names[split], index["mode"].to_pylist(), strict=True):
                modes.setdefault(mode, []).append(name)
        if None in modes:
            raise self._unusable(modes[None])
        converted = {str(mode): names for mode, names in sorted(modes.items()) if mode != "RGB"}
        return {
            "converted": {mode: {"pictures": len(names), "first": names[:_NAMED]} for mode, names in converted.items()}
        }

    def _unusable(self, names: Sequence[str]) -> UnusablePictures:
        lines = []
        for name in names[:_NAMED]:
            try:
                pictures.read(self.folder, name, self.max_megapixels)
                lines.append(f"{name}: it changed while it was read")
            except DataError as error:
                lines.append(str(error))
        if len(names) > _NAMED:
            lines.append(f"and {len(names) - _NAMED:,} more")
        total = sum(len(names) for names in self.file_names.values())
        return UnusablePictures(
            f"{self.folder}: {len(names):,} of {total:,} pictures cannot be used; expected every picture of the caption "
            "table, whole and still. Mend these, or remove them from the data set:\n  " + "\n  ".join(lines)
        )


@dataclass(frozen=True)
class _Shard:
    """The samples of one shard. A picture that cannot be used gets an index row without facts, so that all are looked at."""

    folder: Path
    rows: range
    images: Sequence[Image]
    max_megapixels: float

    def __iter__(self) -> Iterator[writing.Sample]:
        for row, image in zip(self.rows, self.images, strict=True):
            key, members, index = f"{row:07d}", {"json": [image.as_json()]}, {"image_id": image.image_id}
            try:
                data, facts = pictures.read(self.folder, str(image.file_name), self.max_megapixels)
            except DataError:
                yield writing.Sample(key, members, "json", index)
            else:
                ending = pictures.FORMATS[facts.format]
                index |= {"bytes": len(data), **asdict(facts)}
                yield writing.Sample(key, {**members, ending: [data]}, ending, index)
