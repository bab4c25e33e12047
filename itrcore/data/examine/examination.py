"""The whole examination of one data set: what the stages have made so far, by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from itrcore import layout
from itrcore.data import captions, scan
from itrcore.data.captions import Image
from itrcore.data.examine import boxes, features, pictures, texts
from itrcore.data.examine.boxes import AllBoxes
from itrcore.data.examine.features import AllFeatures
from itrcore.data.examine.pictures import AllPictures
from itrcore.data.examine.problems import Problem, Splits, unreadable
from itrcore.data.examine.texts import Texts
from itrcore.data.pictures import find
from itrcore.data.scan import ScanSplit
from itrcore.data.shards.files import Store
from itrcore.data.shards.images import ImageStore
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.source import Source
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.files import remove
from itrcore.progress import Show
from itrcore.settings.datasets import SPLITS, DatasetSettings

SAMPLES = 4  # images of each split that a page shows


@dataclass(frozen=True)
class Sample:
    """One image to show. boxes: (n_regions, 4) pixels xyxy; picture: its file."""

    split: str
    image: Image
    boxes: np.ndarray | None
    picture: Path | None


@dataclass
class Examined:
    """All figures of a data set; a part that has not been made yet, or that the data set does not have, is None.

    label: what the features are, where the source says so
    missing: path of what has not been made yet → the command that makes it
    """

    name: str
    label: str | None = None
    texts: Texts | None = None
    features: AllFeatures | None = None
    pictures: AllPictures | None = None
    boxes: AllBoxes | None = None
    problems: list[Problem] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)


def examine(name: str, settings: DatasetSettings, progress: Show) -> Examined:
    """Examine the data set of this name, of the project in the current folder.

    progress: called with what is being examined, how much of it is done, how much there is
    What cannot be read becomes a problem, and the rest is examined nevertheless.
    """
    examined = Examined(name)
    raw, table, words = layout.raw(name), layout.captions(name), layout.vocabulary(name) / layout.WORDS
    source = _read(examined, raw / "source.json", "raw", lambda: Source.read(raw))
    splits = _read(examined, table, "splits", lambda: {split: captions.read(table, split) for split in SPLITS})
    vocabulary = _read(examined, words, "vocab", lambda: Vocabulary.load(words, layout.NLTK))
    # Which published shards there are, the stage `raw` finds out; params.yaml does not say.
    regions = (settings.shards.regions or settings.features or (raw / "shards" / "regions").is_dir()) and _made(
        examined, layout.region_shards(name) / "shards.json", "features" if settings.features else "shards"
    )
    images = (settings.shards.images or (raw / "shards" / "images").is_dir()) and _made(
        examined, layout.image_shards(name) / "shards.json", "shards"
    )
    examined.label = settings.label or (source.features if source else None)
    if splits is not None:
        examined.texts = texts.examine(splits, vocabulary, partial(progress, "captions"))
        files: dict[str, ScanSplit] = {}
        if regions:
            folder = layout.region_shards(name)
            records = _no_records(name, folder)
            count_features = partial(progress, "features")
            examined.features = _attempt(examined, lambda: features.examine(folder, records, splits, count_features))
        if images:
            _attempt(examined, lambda: _verify(name, layout.image_shards(name), ImageStore))
        if source and source.pictures:
            limit = settings.shards.images.max_megapixels if settings.shards.images else math.inf
            needed = settings.shards.images is not None
            examined.pictures = pictures.examine(
                Path(source.pictures), needed, limit, splits, partial(progress, "pictures")
            )
        if source and source.folder and settings.shards.regions:
            files = _scan_files(examined, source, splits)
            readable = examined.pictures.splits if examined.pictures else {}
            sizes = {split: figures.sizes for split, figures in readable.items()}
            examined.boxes = boxes.examine(files, splits, sizes)
        examined.samples = list(_samples(examined, splits, files, source))
    parts = (examined.texts, examined.features, examined.pictures, examined.boxes)
    examined.problems += [problem for part in parts if part for problem in part.problems]
    return examined


def verify(name: str) -> Iterator[str]:
    """Read every shard of a data set for its checksum, also those that were verified before; yield a line for each folder of them.

    `DataError` names the first file that is damaged, or says that there are no shards.
    """
    stores: dict[Path, type[Store]] = {layout.region_shards(name): FeatureStore, layout.image_shards(name): ImageStore}
    there = {shards: store for shards, store in stores.items() if shards.exists()}
    if not there:
        raise DataError.at(layout.shards(name), "no shards", "the data set's", do=f"Run: dvc repro shards@{name}")
    for shards, store in there.items():
        _verify(name, shards, store)
        yield f"{shards}: every shard is as it was written"


T = TypeVar("T")


def _made(examined: Examined, path: Path, stage: str) -> bool:
    """Whether the stage has made this file; where not, it is added to `examined.missing`."""
    if not path.exists():
        examined.missing[str(path)] = f"dvc repro {stage}@{examined.name}"
    return path.exists()


def _attempt(examined: Examined, read: Callable[[], T]) -> T | None:
    """What `read` gives; None, and a problem of `examined`, where it cannot."""
    try:
        return read()
    except DataError as error:
        examined.problems.append(unreadable(error))
        return None


def _read(examined: Examined, path: Path, stage: str, read: Callable[[], T]) -> T | None:
    return _attempt(examined, read) if _made(examined, path, stage) else None


def _no_records(name: str, shards: Path) -> Path:
    """Where the records of verified shards are to be, after they are removed: all shards are read."""
    records = layout.verified(name, shards)
    remove(records)
    return records


def _verify(name: str, shards: Path, store: type[Store]) -> None:
    records = _no_records(name, shards)
    for split in SPLITS:
        store(shards, split).verify(records)


def _scan_files(examined: Examined, source: Source, splits: Splits) -> dict[str, ScanSplit]:
    """The SCAN files of each split, where they are still there and have the table's images."""
    files: dict[str, ScanSplit] = {}
    for split, images in splits.items():
        try:
            opened = scan.open_split(Path(str(source.folder)), source.splits[split])
            if opened.image_ids != [image.image_id for image in images]:
                raise DataError.at(
                    opened.path, "other images than the caption table's", "the same", do="Run: dvc repro"
                )
            files[split] = opened
        except DataError as error:
            # The shards are made and need these files no more; only their boxes cannot be examined.
            examined.problems.append(Problem("warning", "source files that cannot be read any more", 1, (str(error),)))
    return files


def _samples(
    examined: Examined, splits: Splits, files: Mapping[str, ScanSplit], source: Source | None
) -> Iterator[Sample]:
    """The same images each time; those that have a picture first."""
    for split, images in splits.items():
        shown = examined.pictures.splits[split].sizes if examined.pictures else {}
        order = np.random.default_rng(0).permutation(len(images)).tolist()
        for position in sorted(order, key=lambda position: position not in shown)[:SAMPLES]:
            image, picture = images[position], None
            if position in shown and source and source.pictures and image.file_name:
                picture = find(Path(source.pictures), image.file_name)
            yield Sample(split, image, files[split].boxes_of(position) if split in files else None, picture)
