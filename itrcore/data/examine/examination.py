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
from itrcore.data.shards.images import ImageStore
from itrcore.data.source import Source
from itrcore.data.text.vocabulary import Vocabulary
from itrcore.errors import DataError
from itrcore.progress import Show
from itrcore.settings.datasets import SPLITS, DatasetSettings, ImageShardSettings

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

    label: what the features are, where the source says so; missing: what has not been made yet → the command that makes it
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
    """Look over the data set of this name in the project in the current folder.

    `progress` is called with what is being looked at, how much is done, how much it is.
    What cannot be read becomes a problem, and the rest is still looked at.
    """
    found = Examined(name)
    raw, table, words = layout.raw(name), layout.captions(name), layout.vocabulary(name) / layout.WORDS
    source = _read(found, raw / "source.json", "raw", lambda: Source.read(raw))
    splits = _read(found, table, "splits", lambda: {split: captions.read(table, split) for split in SPLITS})
    vocabulary = _read(found, words, "vocab", lambda: Vocabulary.load(words, layout.NLTK))
    # Of a data set with published shards the stage `raw` tells which there are, not params.yaml.
    regions = (settings.shards.regions or (raw / "shards" / "regions").is_dir()) and _made(
        found, layout.region_shards(name) / "shards.json", "shards"
    )
    images = (settings.shards.images or (raw / "shards" / "images").is_dir()) and _made(
        found, layout.image_shards(name) / "shards.json", "shards"
    )
    found.label = source.features if source else None
    if splits is not None:
        found.texts = texts.examine(splits, vocabulary, partial(progress, "captions"))
        files: dict[str, ScanSplit] = {}
        if regions:
            folder, looked = layout.region_shards(name), partial(progress, "features")
            found.features = _attempt(found, lambda: features.examine(folder, splits, looked))
        if images:
            _attempt(found, lambda: _verify_image_shards(layout.image_shards(name)))
        if source and source.pictures:
            _look_at_pictures(found, Path(source.pictures), settings.shards.images, splits, progress)
        if source and source.folder and settings.shards.regions:
            files = _scan_files(found, source, splits)
            sizes = {split: figures.sizes for split, figures in found.pictures.splits.items()} if found.pictures else {}
            found.boxes = boxes.examine(files, splits, sizes)
        found.samples = list(_samples(found, splits, files, source))
    parts = (found.texts, found.features, found.pictures, found.boxes)
    found.problems += [problem for part in parts if part for problem in part.problems]
    return found


T = TypeVar("T")


def _made(found: Examined, path: Path, stage: str) -> bool:
    """Whether the stage has made it; said in `found` where not."""
    if not path.exists():
        found.missing[str(path)] = f"dvc repro {stage}@{found.name}"
    return path.exists()


def _attempt(found: Examined, read: Callable[[], T]) -> T | None:
    """What `read` gives; None, and a problem of `found`, where it cannot."""
    try:
        return read()
    except DataError as error:
        found.problems.append(unreadable(error))
        return None


def _read(found: Examined, path: Path, stage: str, read: Callable[[], T]) -> T | None:
    return _attempt(found, read) if _made(found, path, stage) else None


def _verify_image_shards(folder: Path) -> None:
    for split in SPLITS:
        ImageStore(folder, split).verify()


def _look_at_pictures(
    found: Examined,
    folder: Path,
    settings: ImageShardSettings | None,
    splits: Splits,
    progress: Show,
) -> None:
    limit = settings.max_megapixels if settings else math.inf
    found.pictures = pictures.examine(folder, settings is not None, limit, splits, partial(progress, "pictures"))


def _scan_files(found: Examined, source: Source, splits: Splits) -> dict[str, ScanSplit]:
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
            # Shards are made and serve without them; boxes cannot be looked at.
            found.problems.append(Problem("warning", "source files that cannot be read any more", 1, (str(error),)))
    return files


def _samples(
    found: Examined, splits: Splits, files: Mapping[str, ScanSplit], source: Source | None
) -> Iterator[Sample]:
    """The same images each time; those that have a picture first."""
    for split, images in splits.items():
        shown = found.pictures.splits[split].sizes if found.pictures else {}
        order = np.random.default_rng(0).permutation(len(images)).tolist()
        for position in sorted(order, key=lambda position: position not in shown)[:SAMPLES]:
            image, picture = images[position], None
            if position in shown and source and source.pictures and image.file_name:
                picture = find(Path(source.pictures), image.file_name)
            yield Sample(split, image, files[split].boxes_of(position) if split in files else None, picture)
