"""SCAN's data layout: `{split}_ims.npy`, `{split}_caps.txt`, `{split}_ids.txt`, read memory-mapped and checked.

Two conventions are in use and both are read: one feature row per image, or the row repeated for each of its captions;
likewise one id per image or per caption. `id_mapping.json` (id → file name) and `{split}_boxes.npy` may lie beside them, and
`{split}_counts.npy` where images have different numbers of regions and the features' rows are padded.
"""

from __future__ import annotations

import codecs
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itrcore import limits
from itrcore.arrays import open_array
from itrcore.errors import DataError
from itrcore.files import WrongKind, kind_of, number_of, read_json, read_within, text_of
from itrcore.unpacking import damage_as, gunzipped

_GIVE_BACK = 16 << 20  # bytes read between two calls that give mapped pages back


@dataclass(frozen=True)
class ScanSplit:
    """One split of a SCAN folder, one entry per image.

    image_ids: (n_images,) SCAN's integer ids
    captions: n_images lists of captions, in the file's order
    rows: (n_images,) first row of each image in `features`
    repeats: (n_images,) how many rows of `features` each image has
    features: (n_rows, n_regions, width) floating point, memory-mapped
    boxes: (n_rows, n_regions, 4) pixels xyxy, memory-mapped, where the folder has them
    counts: (n_rows,) how many of a row's regions are real, where not all are; the rest is padding
    path: the features' file, for messages
    """

    image_ids: list[int]
    captions: list[list[str]]
    rows: np.ndarray
    repeats: np.ndarray
    features: np.ndarray
    boxes: np.ndarray | None
    counts: np.ndarray | None
    path: Path

    def __len__(self) -> int:
        return len(self.captions)

    def features_of(self, images: range) -> FeatureRows:
        """The features of these images, in order; nothing is read yet."""
        rows = self.rows[images.start : images.stop].tolist()
        return FeatureRows(
            self.path,
            self.image_ids[images.start : images.stop],
            rows,
            self.repeats[images.start : images.stop].tolist(),
            [self._regions(row) for row in rows],
        )

    def boxes_of(self, index: int) -> np.ndarray | None:
        """Boxes of one image, float32 (n_regions, 4), pixels xyxy, without padding; None where the folder has none."""
        if self.boxes is None:
            return None
        row = int(self.rows[index])
        return np.array(self.boxes[row, : self._regions(row)], np.float32)

    def _regions(self, row: int) -> int:
        return int(self.features.shape[1] if self.counts is None else self.counts[row])


@dataclass(frozen=True)
class FeatureRows:
    """Features of some images of a split, read and checked where this is iterated over: it is light, and can be pickled.

    rows, repeats, n_regions: for each image its first row in the file, its number of rows, its regions without padding
    """

    path: Path
    image_ids: list[int]
    rows: list[int]
    repeats: list[int]
    n_regions: list[int]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each image's features, (n_regions, width), memory-mapped.

        `DataError` where a value is not finite, or the repeated rows of one image differ.
        """
        features = open_array(self.path)
        mapped = 0
        for image_id, first, repeats, n in zip(self.image_ids, self.rows, self.repeats, self.n_regions, strict=True):
            regions = features[first, :n]
            for row in range(first, first + repeats):
                values = features[row, :n]
                if not np.isfinite(values).all():
                    wrong = f"found {values[~np.isfinite(values)][0]}"
                    raise DataError.at(self.path, wrong, "finite numbers", row, "Extract or download it again.")
                if row > first and not np.array_equal(values, regions):
                    raise DataError.at(
                        self.path,
                        f"found other features than in row {first}, though both are of image {image_id}",
                        "the same features for every caption of an image",
                        row,
                        "Check that the ids file belongs to these features.",
                    )
            yield regions
            mapped += repeats * features[0].nbytes
            if mapped >= _GIVE_BACK:
                _give_back(features)
                mapped = 0


def read_captions(folder: Path, split: str) -> tuple[list[int], list[list[str]]]:
    """Image ids and the captions of each image of one split, in the files' order.

    Reads `{split}_caps.txt` (or `.txt.gz`) and `{split}_ids.txt`. `DataError` names file and row for text that is not
    UTF-8, an empty caption, an id that is not a number or comes twice, and counts that do not fit.
    """
    captions_path, captions = _read_lines(folder, f"{split}_caps.txt")
    ids_path, id_lines = _read_lines(folder, f"{split}_ids.txt")
    for row, caption in enumerate(captions):
        if not caption:
            raise DataError.at(captions_path, "found an empty line", "one caption on each line", row)
    ids = [_parse_id(ids_path, row, line) for row, line in enumerate(id_lines)]

    if len(ids) == len(captions):  # one id per caption: captions of an image follow each other
        starts = [row for row, value in enumerate(ids) if row == 0 or value != ids[row - 1]]
        groups = [captions[a:b] for a, b in zip(starts, [*starts[1:], len(captions)], strict=True)]
    else:
        if len(captions) % len(ids):
            raise DataError.at(
                captions_path,
                f"found {len(captions)} captions for {len(ids)} images in {ids_path.name}",
                "a multiple of the images, or one id per caption",
                do="One of the two files is cut short or belongs to other data.",
            )
        per_image = len(captions) // len(ids)
        starts = list(range(len(ids)))
        groups = [captions[i * per_image : (i + 1) * per_image] for i in starts]
    seen: dict[int, int] = {}
    for row in starts:
        if ids[row] in seen:
            found = f"found id {ids[row]} again (first in row {seen[ids[row]]})"
            raise DataError.at(ids_path, found, "each image once per split, its captions together", row)
        seen[ids[row]] = row
    return [ids[row] for row in starts], groups


def open_split(folder: Path, split: str) -> ScanSplit:
    """Open one split; features stay on disk. Counts and shapes are checked now, values when an image is read.

    `DataError` names the file where it is missing or unreadable, or does not fit the others.
    """
    image_ids, captions = read_captions(folder, split)
    path = folder / f"{split}_ims.npy"
    features = open_array(path)
    if features.ndim != 3 or not np.issubdtype(features.dtype, np.floating):
        raise DataError.at(path, f"found {features.dtype} of shape {features.shape}", "floats (rows, regions, width)")
    counts = np.array([len(group) for group in captions])
    n_captions = int(counts.sum())
    if len(features) == len(captions):
        rows, repeats = np.arange(len(captions)), np.ones(len(captions), int)
    elif len(features) == n_captions:
        rows, repeats = np.cumsum(counts) - counts, counts
    else:
        raise DataError.at(
            path,
            f"found {len(features)} rows for {len(captions)} images and {n_captions} captions",
            f"{len(captions)} rows (one per image) or {n_captions} (one per caption)",
            do="Features, captions and ids must come from the same download.",
        )
    boxes = None
    boxes_path = folder / f"{split}_boxes.npy"
    if boxes_path.exists():
        boxes = open_array(boxes_path)
        if boxes.shape != (*features.shape[:2], 4):
            raise DataError.at(boxes_path, f"found shape {boxes.shape}", f"{(*features.shape[:2], 4)}, as {path.name}")
    regions = _read_counts(folder / f"{split}_counts.npy", features.shape[:2], np.repeat(rows, repeats))
    return ScanSplit(image_ids, captions, rows, repeats, features, boxes, regions, path)


def _read_counts(path: Path, shape: tuple[int, int], first: np.ndarray) -> np.ndarray | None:
    """Regions of each row, (n_rows,), without padding; None where there is no such file.

    shape: rows and regions of the features; first: (n_rows,) the first row of each row's image
    `DataError` where a count is impossible, or differs between the rows of one image.
    """
    if not path.exists():
        return None
    mapped = open_array(path)
    if mapped.shape != shape[:1] or not np.issubdtype(mapped.dtype, np.integer):
        raise DataError.at(path, f"found {mapped.dtype} of shape {mapped.shape}", f"integers of shape {shape[:1]}")
    counts = np.array(mapped)
    for row in np.flatnonzero((counts < 1) | (counts > shape[1])):
        raise DataError.at(path, f"found {counts[row]}", f"from 1 to {shape[1]} regions", int(row))
    for row in np.flatnonzero(counts != counts[first]):
        raise DataError.at(path, f"found {counts[row]}", f"{counts[first[row]]}, as in the image's first row", int(row))
    return counts


def check_splits(splits: Mapping[str, ScanSplit]) -> None:
    """`DataError` where the splits' features differ in width."""
    first = next(iter(splits.values()))
    for split in splits.values():
        if split.features.shape[2] != first.features.shape[2]:
            raise DataError.at(
                split.path,
                f"found feature width {split.features.shape[2]}",
                f"{first.features.shape[2]}, as in {first.path.name}",
            )


def check_ids(folder: Path, names: Mapping[str, str], ids: Mapping[str, Sequence[int]]) -> None:
    """`DataError` where an image is in two splits.

    names: split → prefix of its files; ids: split → its image ids
    """
    owner: dict[int, str] = {}
    for split, image_ids in ids.items():
        for position, image_id in enumerate(image_ids):
            other = owner.setdefault(image_id, split)
            if other != split:
                raise DataError.at(
                    folder / f"{names[split]}_ids.txt",
                    f"image id {image_id} (image {position}) is in split {other} as well",
                    "every image in one split",
                    do="A test image among the training images would make every result worthless.",
                )


def files_of(folder: Path, prefixes: Sequence[str]) -> list[Path]:
    """All files that these splits are read from."""
    parts = ("ims.npy", "counts.npy", "caps.txt", "caps.txt.gz", "ids.txt", "ids.txt.gz", "boxes.npy")
    paths = [folder / f"{prefix}_{part}" for prefix in prefixes for part in parts]
    return [path for path in paths if path.exists()]


def read_id_mapping(path: Path) -> dict[int, str]:
    """`id_mapping.json` as image id → file name."""
    try:
        names = read_json(path).items()
        return {number_of(key, "an image id"): text_of(name, f"the file name of image {key}") for key, name in names}
    except FileNotFoundError:
        raise DataError.at(path, "no such file", "id_mapping.json") from None
    except WrongKind as error:
        expected = f'{error.expected}, as in {{"0": "1000092795.jpg"}}'
        raise DataError.at(path, error.found, expected, do="Correct the entry.") from error
    except (ValueError, AttributeError) as error:
        raise DataError.at(path, f"cannot be read ({error})", 'JSON like {"0": "1000092795.jpg"}') from error


def _read_lines(folder: Path, name: str) -> tuple[Path, list[str]]:
    """Path and lines of a text file or of its `.gz`. Split at \\n alone: captions may hold other Unicode line ends."""
    path = folder / name
    if not path.exists() and path.with_name(f"{name}.gz").exists():
        path = path.with_name(f"{name}.gz")
    try:
        with damage_as(lambda wrong: DataError.at(path, f"damaged ({wrong})", "a whole file", do="Download it again.")):
            if path.suffix == ".gz":
                with gunzipped(path, limits.TEXT) as unpacked:
                    data = unpacked.read()
            else:
                data = read_within(path, limits.TEXT)
    except FileNotFoundError:
        others = sorted(other.name for other in folder.glob(f"*_{name.rpartition('_')[2]}*"))
        do = f"There are {', '.join(others)}: correct source.splits." if others else f"Does {folder} hold the data set?"
        raise DataError.at(path, "no such file", "SCAN's layout", do=do) from None
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({error.strerror})", "a text file") from error
    if (rows := data.count(b"\n")) > limits.ROWS:
        raise DataError.at(path, f"{rows:,} lines", f"at most {limits.ROWS:,}")
    lines = []
    data = data.removeprefix(codecs.BOM_UTF8)  # some editors write it; it is no part of the first word
    for row, line in enumerate(data.removesuffix(b"\n").split(b"\n")):
        try:
            lines.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise DataError.at(path, f"bytes that are not UTF-8 ({error.reason})", "UTF-8 text", row) from error
    if lines == [""]:
        raise DataError.at(path, "the file is empty", "at least one line")
    return path, lines


def _give_back(mapped: np.ndarray) -> None:
    # Mapped pages count as this process's memory until they are given back; the system keeps them in its cache.
    pages: object = mapped.base
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _parse_id(path: Path, row: int, line: str) -> int:
    try:
        if line.isascii() and line.isdigit():
            return number_of(line, "it")
    except WrongKind:  # of more digits than any id has
        pass
    raise DataError.at(path, f"found {kind_of(line)}", "an image id: digits, at most 64 bits", row)
