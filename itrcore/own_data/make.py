"""`itr data new`: a folder in SCAN's layout and its entry in params.yaml, from a user's captions, features and pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from itrcore.data import scan_writing
from itrcore.data.pictures import read as read_picture
from itrcore.errors import DataError
from itrcore.files import remove, replacing
from itrcore.own_data import division
from itrcore.own_data.captions import OwnImage, read
from itrcore.own_data.features import Features, open_features
from itrcore.progress import Count
from itrcore.settings import edit
from itrcore.settings.datasets import FEATURE_KINDS, SPLITS

FOLDER = Path("datasets")
_PARAMS = Path("params.yaml")

_DEFAULT_SHARE = 0.1
_MAX_MEGAPIXELS = 50
_EXTRACTED = {"extractor": {"kind": "lite0", "framing": "whole"}, "dtype": "float16", "samples_per_shard": 500}
_SHOWN = 3


@dataclass(frozen=True)
class NewDataset:
    """A data set that was made: its folder, images and captions of each split, and what a user should know about it."""

    folder: Path
    counts: dict[str, tuple[int, int]]  # split → images, captions
    notes: list[str]


@dataclass
class _Survey:
    """What reading every image once has shown.

    digests: for each image those of its features and of its picture; regions: of each image, where there are features
    width: of the features; largest: of their values, without sign
    """

    digests: list[set[bytes]] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    width: int = 0
    largest: float = 0.0


def make(
    name: str,
    captions: Path,
    *,
    features: Path | None = None,
    images: Path | None = None,
    kind: str | None = None,
    extract: bool = False,
    dev: float | None = None,
    test: float | None = None,
    seed: int = 1,
    progress: Count = lambda done, total: None,
) -> NewDataset:
    """Make `datasets/<name>/` and `datasets.<name>` in params.yaml; an error leaves neither.

    captions: the table that `itrcore.own_data.captions.read` takes
    features: an array or a folder, as `itrcore.own_data.features` takes them; without, `images` is needed
    images: the folder of the pictures; it is not copied
    kind: what the features are, one of `FEATURE_KINDS`, shown with every result
    extract: whether a stage is to compute features of the pictures
    dev, test: below 1 a share of the images, else a count; None: 0.1, and nothing else where the table has splits
    progress: called with images done, images in all; with features each image is read twice, and counts twice
    `DataError` and `ConfigError` say what is wrong with any of these.
    """
    folder = FOLDER / name
    _check(features, images, kind, extract)
    # Whether the entry would be valid, before hours are spent on features.
    edit.text_with(_PARAMS, "datasets", name, _settings(name, images, kind, "float16", extract))
    if folder.exists():
        raise DataError.at(folder, "it is there already", "a new folder", do="Choose another name, or remove it.")
    table = read(captions)
    has_splits = table[0].split is not None
    if has_splits and (dev, test) != (None, None):
        raise DataError.at(captions, "a column split, and --dev or --test", "one of the two")
    opened = open_features(features, [image.name for image in table]) if features else None
    steps = iter(range(1, 2 * len(table) + 1))
    total = (2 if opened else 1) * len(table)
    survey = _look(captions, table, opened, images, lambda: progress(next(steps), total))
    same = division.groups(survey.digests)
    if has_splits:
        splits = [str(image.split) for image in table]
        _check_given(captions, table, same)
    else:
        drawn = division.sizes(len(table), *(_DEFAULT_SHARE if given is None else given for given in (dev, test)))
        splits = division.draw([image.name for image in table], same, *drawn, seed)

    with replacing(folder) as temporary:
        temporary.mkdir()
        scan_writing.write_id_mapping(temporary, {position: image.name for position, image in enumerate(table)})
        for split in SPLITS:
            positions = [position for position, its_split in enumerate(splits) if its_split == split]
            _write_split(temporary, split, table, positions, opened, survey, lambda: progress(next(steps), total))
    float16 = survey.largest <= float(np.finfo(np.float16).max)
    try:
        edit.add(_PARAMS, "datasets", name, _settings(name, images, kind, "float16" if float16 else "float32", extract))
    except BaseException:
        remove(folder)
        raise
    counts = {
        split: [len(image.captions) for image, its_split in zip(table, splits, strict=True) if its_split == split]
        for split in SPLITS
    }
    notes = list(_notes(table, same, opened))
    if not float16:
        notes.append(f"features reach {survey.largest:g}, more than float16 can hold: shards are written in float32")
    return NewDataset(folder, {split: (len(group), sum(group)) for split, group in counts.items()}, notes)


def _check(features: Path | None, images: Path | None, kind: str | None, extract: bool) -> None:
    if features is None and images is None:
        raise DataError("Neither features nor images: give --features, --images or both.")
    if features is not None and kind not in FEATURE_KINDS:
        choices = ", ".join(repr(name) for name in FEATURE_KINDS)
        raise DataError.at("--kind", f"found {kind!r}", f"what the features are: {choices}", do="Every table shows it.")
    if features is None and kind is not None:
        raise DataError.at("--kind", f"found {kind!r}", "nothing, as there are no features")
    if images is not None and not images.is_dir():
        raise DataError.at(images, "no such folder", "the folder of the pictures")
    if extract and (features is not None or images is None):
        found = "no --images" if images is None else "--features beside it"
        raise DataError.at("--extract", found, "--images alone, whose features are computed")


def _settings(name: str, images: Path | None, kind: str | None, dtype: str, extract: bool) -> dict[str, Any]:
    folder = (FOLDER / name).as_posix()
    splits = {split: split for split in SPLITS}
    source: dict[str, Any] = {"kind": "scan", "folder": folder, "features": kind or "none", "splits": splits}
    shards: dict[str, Any] = {}
    if kind:
        shards["regions"] = {"dtype": dtype, "samples_per_shard": 1000}
    if images:
        source["pictures"] = str(images)
        shards["images"] = {"samples_per_shard": 1000, "max_megapixels": _MAX_MEGAPIXELS}
    entry = {"reads": folder, "source": source, "vocabulary": {"min_count": 4}, "shards": shards}
    return {**entry, "features": _EXTRACTED} if extract else entry


def _look(
    captions: Path,
    table: Sequence[OwnImage],
    features: Features | None,
    pictures: Path | None,
    step: Callable[[], None],
) -> _Survey:
    """Read every image's features and picture once. `DataError` with the first problem and the number of the others."""
    survey = _Survey()
    problems: list[tuple[OwnImage, DataError]] = []
    for position, image in enumerate(table):
        digests = set()
        try:
            if features:
                array = features.read(position)
                survey.width = survey.width or array.shape[1]
                if array.shape[1] != survey.width:
                    found = f"the features of {image.name} have width {array.shape[1]}"
                    raise DataError.at(features.path, found, f"{survey.width}, as those of {table[0].name}")
                survey.regions.append(len(array))
                survey.largest = max(survey.largest, float(np.abs(array).max()))
                digests.add(hashlib.sha256(b"features" + array.tobytes()).digest())
            if pictures:
                data, _ = read_picture(pictures, image.name, _MAX_MEGAPIXELS)
                digests.add(hashlib.sha256(b"picture" + data).digest())
        except DataError as problem:
            problems.append((image, problem))
        except OSError as problem:
            problems.append((image, DataError.at(str(problem.filename), str(problem.strerror), "a file to read")))
        survey.digests.append(digests)
        step()
    if problems:
        image, first = problems[0]
        others = [other.name for other, _ in problems[1:]]
        more = f" {len(others)} more images have a problem: {_few(others)}." if others else ""
        raise DataError(f"{captions}, line {image.line}: {first}{more}")
    return survey


def _check_given(captions: Path, table: Sequence[OwnImage], same: Sequence[Sequence[int]]) -> None:
    """`DataError` where a split of the table has no image, or the same image is in two of them."""
    if missing := [split for split in SPLITS if all(image.split != split for image in table)]:
        raise DataError.at(
            captions, f"no image in split {', '.join(missing)}", "images in train, dev (or val) and test"
        )
    torn = [group for group in same if len({table[position].split for position in group}) > 1]
    if torn:
        named = [
            " = ".join(f"{table[i].name} ({table[i].split}, line {table[i].line})" for i in group) for group in torn
        ]
        raise DataError.at(
            captions,
            f"{len(torn)} images are in two splits under different names, their features or pictures the same: {_few(named)}",
            "every image in one split",
            do="A test image among the training images would make every result worthless: move or remove one of each.",
        )


def _write_split(
    folder: Path,
    split: str,
    table: Sequence[OwnImage],
    positions: Sequence[int],
    features: Features | None,
    survey: _Survey,
    step: Callable[[], None],
) -> None:
    most = max(survey.regions, default=0)

    def rows(features: Features) -> Iterator[np.ndarray]:
        for position in positions:
            row = np.zeros((most, survey.width), np.float32)
            row[: survey.regions[position]] = features.read(position)
            step()
            yield row

    captions = [table[position].captions for position in positions]
    if features is None:
        scan_writing.write_captions(folder, split, positions, captions, "caption")
        return
    scan_writing.write_split(
        folder, split, (len(positions), most, survey.width), rows(features), positions, captions, "caption"
    )
    if min(survey.regions) < most:
        counts = np.array([survey.regions[position] for position in positions], np.int64)
        np.save(folder / f"{split}_counts.npy", counts, allow_pickle=False)


def _notes(table: Sequence[OwnImage], same: Sequence[Sequence[int]], features: Features | None) -> Iterator[str]:
    if twins := [" = ".join(table[position].name for position in group) for group in same if len(group) > 1]:
        yield f"{len(twins)} groups of images are the same and were kept in one split each: {_few(twins)}"
    owners: dict[str, set[str]] = {}
    for image in table:
        for caption in image.captions:
            owners.setdefault(caption, set()).add(image.name)
    if shared := [f"“{caption}”" for caption, names in owners.items() if len(names) > 1]:
        yield f"{len(shared)} captions are those of several images: {_few(shared)}"
    if features and features.unused:
        yield f"{len(features.unused)} files have no captions and were left out: {_few(features.unused)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
