"""From SCAN's files, Karpathy's JSON or both to the caption table; and how far the two agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from itrcore.data import captions, karpathy, scan
from itrcore.data.captions import SCHEMA, Image
from itrcore.data.karpathy import KarpathyImage
from itrcore.data.source import Source
from itrcore.errors import DataError
from itrcore.settings.datasets import SPLITS, SourceSettings

# Below this share of equal captions the two files are not of the same data, whatever their counts say.
_LEAST_EQUAL = 0.5
_SHOWN = 3


@dataclass(frozen=True)
class Agreement:
    """One split of SCAN's files beside Karpathy's JSON.

    described: images that the JSON has in this split
    in_order: whether SCAN's images come in the JSON's order (`restval` after `train`)
    equal: captions whose words (lower-cased, no punctuation) are the same in both
    differing: the first few others, `row N: "SCAN's text" / "Karpathy's text"`, rows of the captions file from 0
    """

    described: int
    in_order: bool
    equal: int
    differing: list[str]


@dataclass(frozen=True)
class Counts:
    """One split of the caption table; `karpathy` where SCAN's files and Karpathy's JSON are both there."""

    images: int
    captions: int
    karpathy: Agreement | None

    def __str__(self) -> str:
        text = f"{self.images:,} images, {self.captions:,} captions"
        if (agreement := self.karpathy) is None:
            return text
        order = "in" if agreement.in_order else "NOT in"
        text += f"; of {agreement.described:,} images in Karpathy's JSON, {order} its order, "
        text += f"{agreement.equal:,} captions with the same words"
        return text + (f"; others: {'; '.join(agreement.differing)}" if agreement.differing else "")


def build(source: Source, settings: SourceSettings, raw: Path) -> tuple[pa.Table, dict[str, Counts]]:
    """The caption table of a data set, and what each split has.

    raw: the output of the stage `raw`
    `DataError` as `from_scan`, `from_karpathy` and `compare` raise it.
    """
    described = karpathy.read(Path(source.karpathy)) if source.karpathy else []
    compared = False
    if source.folder:
        id_mapping = Path(source.id_mapping) if source.id_mapping else None
        table = from_scan(Path(source.folder), source.splits, id_mapping, described)
        compared = bool(described)
    elif source.karpathy:
        table = from_karpathy(Path(source.karpathy), described, settings.captions_taken)
    else:
        table = captions.read_published(raw / "captions.parquet")
    counts = {}
    for split in SPLITS:
        images = captions.images_of(table, split)
        file = Path(source.folder or raw, f"{source.splits[split]}_caps.txt")
        agreement = compare(images, described, split, file) if compared else None
        counts[split] = Counts(len(images), sum(len(image.captions) for image in images), agreement)
    return table, counts


def from_scan(
    folder: Path, split_names: Mapping[str, str], id_mapping: Path | None, described: Sequence[KarpathyImage] = ()
) -> pa.Table:
    """The caption table of SCAN's files, in their order and with their text.

    split_names: our split (train, dev, test) → prefix of its files; id_mapping: JSON of image id → file name
    described: Karpathy's images. Caption ids are their `sentids` then, file names theirs where there is no id_mapping;
    without them caption ids are a running number over train, dev and test.
    `DataError` for an image that one of the files lacks or puts into another split, or that has more captions.
    """
    names = scan.read_id_mapping(id_mapping) if id_mapping else None
    by_name = {image.filename: image for image in described}
    by_id = {image.image_id: image for image in described}
    images: dict[str, list[Image]] = {}
    number = 0
    for split in SPLITS:
        images[split] = []
        ids_file = folder / f"{split_names[split]}_ids.txt"
        image_ids, groups = scan.read_captions(folder, split_names[split])
        for position, (image_id, group) in enumerate(zip(image_ids, groups, strict=True)):
            file_name = None
            if names is not None:
                if image_id not in names:
                    raise DataError.at(
                        str(id_mapping), f"no entry for image id {image_id} of {split}", "one for every id"
                    )
                file_name = names[image_id]
            caption_ids = list(range(number, number + len(group)))
            number += len(group)
            if described:
                image = by_name.get(PurePosixPath(file_name).name) if file_name else by_id.get(image_id)
                what = f"image {position}, {file_name or f'id {image_id}'},"
                caption_ids = _caption_ids(ids_file, image, what, split, len(group))
                file_name = file_name or (image.path if image else None)
            images[split].append(Image(image_id, file_name, caption_ids, group))
    _check_names(folder, images)
    return _table(images)


def from_karpathy(file: Path, described: Sequence[KarpathyImage], captions_per_image: int | None) -> pa.Table:
    """The caption table of Karpathy's JSON alone.

    file: the JSON, for messages; described: its images
    captions_per_image: how many captions of each image are taken, the first ones, as in SCAN's files; None: all
    `DataError` where a split has no image, or an image has fewer captions than that or an empty one.
    """
    least = captions_per_image or 1
    for image in described:
        taken = image.captions[:captions_per_image]
        if len(taken) < least or not all(text.strip() for text in taken):
            problem = (
                f"{image.filename} has {len(taken)} captions" if all(map(str.strip, taken)) else "an empty caption"
            )
            do = "Lower source.captions_per_image, or mend the file."
            raise DataError.at(file, f"{problem} (imgid {image.imgid})", f"{least} for each image, none empty", do=do)
    if empty := [split for split in SPLITS if not karpathy.in_our_order(described, split)]:
        raise DataError.at(file, f"no image in split {', '.join(empty)}", "images to train, select and test on")
    images = {
        split: [
            Image(
                image.image_id,
                image.path,
                image.sentids[:captions_per_image],
                [" ".join(text.split()) for text in image.captions[:captions_per_image]],
            )
            for image in karpathy.in_our_order(described, split)
        ]
        for split in SPLITS
    }
    return _table(images)


def compare(images: Sequence[Image], described: Sequence[KarpathyImage], split: str, where: Path) -> Agreement:
    """How far one split of the table made by `from_scan` agrees with Karpathy's JSON.

    where: SCAN's captions file, for the message
    `DataError` names the first rows where most captions have other words: the files are not of the same data.
    """
    texts = {sentid: text for image in described for sentid, text in zip(image.sentids, image.captions, strict=True)}
    listed = karpathy.in_our_order(described, split)
    place = {sentid: position for position, image in enumerate(listed) for sentid in image.sentids}
    places = [place[image.caption_ids[0]] for image in images]
    pairs = [pair for image in images for pair in zip(image.caption_ids, image.captions, strict=True)]
    other = [
        f'row {row}: "{text}" / "{" ".join(texts[caption_id].split())}"'
        for row, (caption_id, text) in enumerate(pairs)
        if karpathy.tokens(text) != karpathy.tokens(texts[caption_id])
    ]
    equal = len(pairs) - len(other)
    if equal < _LEAST_EQUAL * len(pairs):
        raise DataError.at(
            where,
            f"{len(other):,} of {len(pairs):,} captions have other words than in Karpathy's JSON: "
            + "; ".join(other[:_SHOWN]),
            "the captions of the same images",
            do="The files belong to different data, or ids and captions are out of step.",
        )
    return Agreement(len(listed), places == sorted(places), equal, other[:_SHOWN])


def _check_names(folder: Path, images: Mapping[str, Sequence[Image]]) -> None:
    """`DataError` where one picture has two ids: it could be in train and in test."""
    owner: dict[str, str] = {}
    for split, group in images.items():
        for image in group:
            if image.file_name is None:
                continue
            here = f"image {image.image_id} of {split}"
            other = owner.setdefault(image.file_name, here)
            if other is not here:
                raise DataError.at(
                    folder,
                    f"{other} and {here} have the same file name, {image.file_name}",
                    "every picture once",
                    do="Correct id_mapping.json; a test picture among the training ones would make every result worthless.",
                )


def _caption_ids(where: Path, image: KarpathyImage | None, what: str, split: str, count: int) -> list[int]:
    do = "Are both of the same data set?"
    if image is None:
        raise DataError.at(where, f"{what} is not in Karpathy's JSON", "the images of its splits", do=do)
    if image.our_split != split or len(image.sentids) < count:
        expected = f"split {image.our_split} and at most {len(image.sentids)} captions, as Karpathy's JSON has it"
        raise DataError.at(where, f"{what} in split {split} with {count} captions", expected, do=do)
    return image.sentids[:count]


def _table(images: Mapping[str, Sequence[Image]]) -> pa.Table:
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA.names}
    for split, group in images.items():
        for position, image in enumerate(group):
            for caption_id, text in zip(image.caption_ids, image.captions, strict=True):
                values = (image.image_id, image.file_name, split, position, caption_id, text)
                for name, value in zip(SCHEMA.names, values, strict=True):
                    columns[name].append(value)
    return pa.table(columns, SCHEMA)
