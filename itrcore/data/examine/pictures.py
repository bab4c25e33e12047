"""Figures of the pictures of each split, each read and decoded whole, and what is wrong with them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from itrcore.cores import cores
from itrcore.data import pictures
from itrcore.data.captions import Image
from itrcore.data.examine.problems import Duplicates, Finding, Problem, Shared, Splits, name_of
from itrcore.data.pictures import PictureFacts
from itrcore.errors import DataError
from itrcore.progress import Count

_BLOCK = 256  # pictures given to the threads at once


@dataclass(frozen=True)
class Pictures:
    """A split's pictures.

    missing: images whose file is not there, damaged or refused; formats, modes: how many of each
    sizes: position of the image → width and height in pixels
    """

    missing: int
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[int, tuple[int, int]]


@dataclass(frozen=True)
class AllPictures:
    """All splits' pictures."""

    splits: dict[str, Pictures]
    duplicates: Duplicates
    problems: list[Problem]


@dataclass(frozen=True)
class _Read:
    """What came of reading one picture: its facts and digest, or what is wrong."""

    facts: PictureFacts | None = None
    digest: str = ""
    wrong: str = ""


def examine(folder: Path, needed: bool, max_megapixels: float, splits: Splits, progress: Count) -> AllPictures:
    """Read the picture of every image of the caption table.

    needed: pictures are part of the data set, so that a missing one is an error, not a warning
    max_megapixels: a larger picture is refused; progress: called with pictures done, pictures in all
    """
    shared = Shared("identical pictures", splits)
    figures: dict[str, Pictures] = {}
    problems: list[Problem] = []
    done, total = 0, sum(map(len, splits.values()))
    for split, images in splits.items():
        formats: Counter[str] = Counter()
        modes: Counter[str] = Counter()
        sizes: dict[int, tuple[int, int]] = {}
        missing = Finding("error" if needed else "warning", f"pictures of {split} that are missing or cannot be used")
        for position, read in enumerate(_read_all(folder, images, max_megapixels)):
            if read.facts is None:
                missing.add(f"{name_of(split, images[position])}: {read.wrong}")
            else:
                formats[read.facts.format] += 1
                modes[read.facts.mode] += 1
                sizes[position] = (read.facts.width, read.facts.height)
                shared.add(read.digest, split, position)
            done += 1
            if done % _BLOCK == 0 or done == total:
                progress(done, total)
        problems += missing.problems()
        absent = len(images) - len(sizes)
        figures[split] = Pictures(absent, dict(formats.most_common()), dict(modes.most_common()), sizes)
    problems += shared.problems(twice="warning", within="warning", across="error")
    return AllPictures(figures, shared.duplicates(can_repeat=False), problems)


def _read_all(folder: Path, images: Sequence[Image], max_megapixels: float) -> Iterator[_Read]:
    # Threads suffice: most of the time goes into decoding, during which Pillow lets others run.
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), _BLOCK):
            yield from pool.map(partial(_read, folder, max_megapixels), images[start : start + _BLOCK])


def _read(folder: Path, max_megapixels: float, image: Image) -> _Read:
    if image.file_name is None:
        return _Read(wrong="no file name; id_mapping.json (image id → file name) gives it")
    try:
        data, facts = pictures.read(folder, image.file_name, max_megapixels)
    except DataError as error:
        return _Read(wrong=str(error))
    return _Read(facts, hashlib.sha256(data).hexdigest())
