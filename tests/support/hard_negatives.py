"""Files in the form of SugarCrepe's and RoCOCO's, with made-up captions of a small data set."""

from __future__ import annotations

from pathlib import Path

from itrcore.data import captions
from itrcore.data.altered import KINDS
from itrcore.data.hard_negatives import CATEGORIES
from itrcore.files import write_json

SAME = "zyx"  # in place of a word that no vocabulary of a test knows
_UNKNOWN = "xyz"


def write_pairs(folder: Path, table: Path) -> None:
    """Four pairs or more of each category, some of pictures in train and dev; one of `swap_obj` are the same tokens."""
    images = {split: captions.read(table, split) for split in ("train", "dev", "test")}
    for number, category in enumerate(CATEGORIES):
        asked = [*images["test"][number % 2 :: 2], images["train"][number], images["dev"][0], images["test"][number]]
        pairs = [(image, image.captions[number % 5], asked[place - 1].captions[1]) for place, image in enumerate(asked)]
        if category == "swap_obj":
            pairs.append((images["test"][0], _UNKNOWN, SAME))
        entries = {
            str(place): {"filename": f"{image.image_id:012d}.jpg", "caption": right, "negative_caption": wrong}
            for place, (image, right, wrong) in enumerate(pairs)
        }
        write_json(folder / f"{category}.json", entries)


def write_altered(folder: Path, table: Path) -> None:
    """Files in the form of RoCOCO's: of each test picture its captions, then those of another picture with more words.

    Of the later kinds fewer pictures' captions are taken.
    """
    images = captions.read(table, "test")
    for number, kind in enumerate(KINDS):
        entries = [
            {
                "image": f"val2014/COCO_val2014_{image.image_id:012d}.jpg",
                "caption": [
                    *image.captions,
                    *(f"{text} on it" for text in images[place * (number + 1) % len(images)].captions),
                ],
            }
            for place, image in enumerate(images)
        ]
        write_json(folder / f"{kind}.json", entries)
