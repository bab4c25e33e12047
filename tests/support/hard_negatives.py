"""Files in the form of SugarCrepe's, with made-up negatives of a small data set."""

from __future__ import annotations

from pathlib import Path

from itrcore.data import captions
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
