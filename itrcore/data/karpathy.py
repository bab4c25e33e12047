"""Karpathy's split files (`dataset_flickr30k.json`, `dataset_coco.json`): read, checked and written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itrcore.errors import DataError
from itrcore.files import write_json

# Karpathy's names → ours. `restval` is the part of COCO val that every published method trains on.
_SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class KarpathyImage:
    """One image: its id, file name, split as the file has it (train, restval, val, test), caption ids and captions."""

    imgid: int
    filename: str
    split: str
    sentids: list[int]
    captions: list[str]

    @property
    def our_split(self) -> str:
        """`train`, `dev` or `test`."""
        return _SPLITS[self.split]


def read(path: Path) -> list[KarpathyImage]:
    """All images in the file's order. `DataError` names the file, the image and what is wrong."""
    try:
        data = json.loads(path.read_text("utf-8"))
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
    ):
        twice, times = Counter(values).most_common(1)[0] if values else (None, 0)
        if times > 1:
            raise DataError.at(path, f"{what} {twice} comes twice", f"every {what} once")
    return images


def write(path: Path, dataset: str, images: Sequence[KarpathyImage]) -> None:
    """Write the file; tokens are lower-cased words without punctuation, as in Karpathy's."""
    entries = []
    for image in images:
        sentences = [
            {"raw": text, "tokens": _tokens(text), "imgid": image.imgid, "sentid": sentid}
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
            int(item["imgid"]),
            str(item["filename"]),
            str(item["split"]),
            [int(sentence["sentid"]) for sentence in sentences],
            [str(sentence["raw"]) for sentence in sentences],
        )
        listed = [int(sentid) for sentid in item.get("sentids", image.sentids)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError.at(path, f"image entry lacks or garbles {error}", "Karpathy's fields", row) from error
    if image.split not in _SPLITS:
        raise DataError.at(path, f"split {image.split!r}", f"one of {', '.join(_SPLITS)}", row)
    if image.sentids != listed:
        raise DataError.at(path, "`sentids` disagrees with the sentences' own", "the same ids in the same order", row)
    return image


def _tokens(text: str) -> list[str]:
    words = ("".join(c for c in word if c.isalnum() or c == "-") for word in text.lower().split())
    return [word for word in words if word]
