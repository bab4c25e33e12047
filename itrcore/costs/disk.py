"""What a configuration will still write, against what is free on the disks where it goes."""

from __future__ import annotations

import configparser
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itrcore import layout
from itrcore.costs.counts import Shape, SplitCounts, counts, shape
from itrcore.costs.plan import Group
from itrcore.settings.datasets import DatasetSettings, ScenesSource, SimulatedSource
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params

FLOAT = 4  # bytes of a weight, and of a similarity
_STATE = (
    7  # a training's weights: two states of weights and two moments while one replaces the other, and the best ones
)
_DRAWN, _PHOTO = 0.25, 0.75  # bytes of a pixel in a picture's file


@dataclass(frozen=True)
class Need:
    """What is written into a folder, in bytes; name: of the folder for people."""

    name: str
    folder: Path
    bytes: float


@dataclass(frozen=True)
class Disk:
    """A disk: what will be written there, and the bytes that are free. where: a folder on it"""

    where: Path
    needs: tuple[Need, ...]
    free: int

    @property
    def bytes(self) -> float:
        """Of all that will be written there."""
        return sum(need.bytes for need in self.needs)


def needs(params: Params, groups: Sequence[Group], parameters: Sequence[int], downloads: int) -> list[Need]:
    """What the configuration whose folder is the working directory will still write.

    parameters: of each group's method, how many; downloads: bytes that are known of them
    """
    data = sum(_data(name, dataset) for name, dataset in params.datasets.items())
    sizes = list(zip(groups, [FLOAT * number for number in parameters], strict=True))
    weights = [size for group, size in sizes for _ in group.to_train]
    runs = sum(size for group, size in sizes for _ in group.to_make)
    # A finished training's best weights stay in state/ until the report has removed them.
    state = sum(weights) + (_STATE - 1) * max(weights, default=0)
    evaluations = sum(scores(group.settings, group.counts, params) * len(group.to_evaluate) for group in groups)
    outputs = {
        layout.captions("x").parts[0]: data,
        layout.run("x", "x").parts[0]: runs,
        layout.evaluation("x", "x").parts[0]: evaluations,
    }
    written = {str(layout.DOWNLOADS): downloads, **({} if _linked() else outputs), str(layout.STATE): state}
    cache = Need("DVC's cache", params.project / ".dvc" / "cache", sum(outputs.values()))
    return [need for need in (*(Need(name, Path(name), size) for name, size in written.items()), cache) if need.bytes]


def disks(needed: Sequence[Need]) -> list[Disk]:
    """The same by disk. Folders that do not exist yet will be on the disk of the folder above them."""
    by_device: dict[int, list[Need]] = {}
    for need in needed:
        by_device.setdefault(_there(need.folder).stat().st_dev, []).append(need)
    return [
        Disk(_there(found[0].folder), tuple(found), shutil.disk_usage(_there(found[0].folder)).free)
        for found in by_device.values()
    ]


def _linked() -> bool:
    """Whether DVC may link outputs to its cache, so that they need room there alone."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([".dvc/config", ".dvc/config.local"], "utf-8")
    kinds = settings.get("cache", "type", fallback="")
    return "hardlink" in kinds or "symlink" in kinds


def _there(folder: Path) -> Path:
    return next(above for above in (folder.resolve(), *folder.resolve().parents) if above.exists())


def _data(name: str, dataset: DatasetSettings) -> float:
    """What is not prepared of a data set; of one whose size is not known, nothing."""
    counted = counts(name, dataset)
    if counted is None or layout.shards(name).exists():
        return 0
    images, given = sum(split.images for split in counted.values()), shape(name, dataset)
    return images * sum(_per_image(dataset, given))


def _per_image(dataset: DatasetSettings, given: Shape) -> Iterator[float]:
    values, picture = given.regions * given.width, given.picture[0] * given.picture[1]
    if isinstance(dataset.source, ScenesSource | SimulatedSource):  # whose features are made here
        yield values * 4
    if isinstance(dataset.source, ScenesSource):
        yield picture * _DRAWN
    if (regions := dataset.shards.regions or dataset.features) is not None:
        yield values * (2 if regions.dtype == "float16" else 4)
    if dataset.shards.images is not None:
        yield picture * (_DRAWN if dataset.drawn else _PHOTO)


def scores(settings: MethodSettings, counted: Mapping[str, SplitCounts] | None, params: Params) -> int:
    """Bytes that a run's evaluation keeps of test and of the selection part of dev: vectors, else the similarities of all pairs.

    counted: the data set's splits; 0 where they are not known
    """
    if counted is None:
        return 0
    splits = (counted["test"], counted["dev"].first(params.training.selection.captions))
    if (width := settings.model.vector_width) is None:
        return sum(FLOAT * split.images * split.captions for split in splits)
    number = FLOAT // 2 if params.evaluation.vectors == "float16" else FLOAT
    return sum(number * width * (split.images + split.captions) for split in splits)
