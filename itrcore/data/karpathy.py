"""Karpathy's split files (`dataset_flickr30k.json`, `dataset_coco.json`): read, checked and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore import limits
from itrcore.errors import DataError
from itrcore.files import WrongKind, number_of, read_json, text_of, write_json

# Karpathy's names → ours. `restval` is the part of COCO val that every published method trains on.
_SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class KarpathyImage:
    """One image: its id, file name, split as the file has it (train, restval, val, test), caption ids and captions.

    MS-COCO's file also gives the folder of the picture (`val2014`) and COCO's own id of the image.
    """

    imgid: int
    filename: str
    split: str
    sentids: list[int]
    captions: list[str]
    filepath: str | None = None
    cocoid: int | None = None

    @property
    def our_split(self) -> str:
        """`train`, `dev` or `test`."""
        return _SPLITS[self.split]

    @property
    def image_id(self) -> int:
        """The id that SCAN's files give the image: COCO's own where there is one."""
        return self.imgid if self.cocoid is None else self.cocoid

    @property
    def path(self) -> str:
        """The picture's path below the folder of all pictures."""
        return f"{self.filepath}/{self.filename}" if self.filepath else self.filename


def read(path: Path) -> list[KarpathyImage]:
    """All images in the file's order. `DataError` names the file, the image and what is wrong."""
    try:
        data = read_json(path, limits.KARPATHY)
    except FileNotFoundError:
        raise DataError.at(path, "no such file", "Karpathy's split file") from None
    except ValueError as error:
        raise DataError.at(
            path, f"not valid JSON ({error})", "Karpathy's split file", do="Download it again."
        ) from error
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        raise DataError.at(path, "no list `images`", 'an object {"images": [...], "dataset": ...}')
    images = [_parse(path, row, item) for row, item in enumerate(data["images"])]
    for what, values in (
        ("imgid", [image.imgid for image in images]),
        ("sentid", [sentid for image in images for sentid in image.sentids]),
        ("filename", [image.filename for image in images]),
        ("cocoid", [image.cocoid for image in images if image.cocoid is not None]),
    ):
        twice, times = Counter(values).most_common(1)[0] if values else (None, 0)
        if times > 1:
            raise DataError.at(path, f"{what} {twice} comes twice", f"every {what} once")
    return images


def in_our_order(images: Sequence[KarpathyImage], split: str) -> list[KarpathyImage]:
    """The images of one of our splits as SCAN's files list them: in the file's order, `restval` after `train`."""
    return [image for part, ours in _SPLITS.items() if ours == split for image in images if image.split == part]


def tokens(text: str) -> list[str]:
    """Lower-cased words without punctuation, as in the file's own `tokens`."""
    words = ("".join(c for c in word if c.isalnum() or c == "-") for word in text.lower().split())
    return [word for word in words if word]


def write(path: Path, dataset: str, images: Sequence[KarpathyImage]) -> None:
    """Write the file; tokens are lower-cased words without punctuation, as in Karpathy's."""
    entries = []
    for image in images:
        sentences = [
            {"raw": text, "tokens": tokens(text), "imgid": image.imgid, "sentid": sentid}
            for sentid, text in zip(image.sentids, image.captions, strict=True)
        ]
        entries.append(
            {
                "imgid": image.imgid,
                "filename": image.filename,
                "split": image.split,
                "sentids": image.sentids,
                "sentences": sentences,
            }
        )
    write_json(path, {"dataset": dataset, "images": entries})


def _parse(path: Path, row: int, item: Any) -> KarpathyImage:
    try:
        sentences = item["sentences"]
        image = KarpathyImage(
            number_of(item["imgid"], "imgid"),
            text_of(item["filename"], "filename"),
            text_of(item["split"], "split"),
            [number_of(sentence["sentid"], f"sentid of sentence {i}") for i, sentence in enumerate(sentences)],
            [text_of(sentence["raw"], f"raw of sentence {i}") for i, sentence in enumerate(sentences)],
            text_of(item["filepath"], "filepath") if "filepath" in item else None,
            number_of(item["cocoid"], "cocoid") if "cocoid" in item else None,
        )
        listed = [
            number_of(sentid, f"sentids, number {i},") for i, sentid in enumerate(item.get("sentids", image.sentids))
        ]
    except WrongKind as error:
        do = "Correct the entry; a table with missing values gives such files."
        raise DataError.at(path, error.found, error.expected, row, do) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError.at(path, f"image entry lacks or garbles {error}", "Karpathy's fields", row) from error
    if image.split not in _SPLITS:
        raise DataError.at(path, f"split {image.split!r}", f"one of {', '.join(_SPLITS)}", row)
    if image.sentids != listed:
        raise DataError.at(path, "`sentids` disagrees with the sentences' own", "the same ids in the same order", row)
    return image
