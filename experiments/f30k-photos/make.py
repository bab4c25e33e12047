"""Makes this experiment's data: 1,485 photos of Flickr30K and their captions, in the folder `photos` beside this file.

    python make.py --photos /path/to/flickr30k-images --captions /path/to/f30k_precomp

photos.csv names the photos and says which split each is in: Karpathy's. The photos themselves are not part of the project. They
belong to Flickr30K, whose authors give them for research (shannon.cs.illinois.edu/DenotationGraph); Flickr8K has them too.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from itrcore.data import scan, scan_writing
from itrcore.errors import DataError, ITRError
from itrcore.files import replacing
from itrcore.settings.datasets import SPLITS

HERE = Path(__file__).parent
LIST, OUT = HERE / "photos.csv", HERE / "photos"


def main(photos: Path, captions: Path) -> None:
    """photos: the folder of the photos, under Flickr30K's or Flickr8K's names; captions: Flickr30K's, in SCAN's layout

    `DataError` where a photo or its captions are missing.
    """
    if not photos.is_dir():
        raise DataError.at(photos, "no such folder", "the folder of Flickr30K's photos")
    files = {number(path.name): path for path in photos.glob("*.jpg")}
    with LIST.open(encoding="utf-8", newline="") as table:
        split_of = {row["photo"]: row["split"] for row in csv.DictReader(table)}
    if missing := [name for name in split_of if number(name) not in files]:
        raise DataError.at(
            photos, f"{len(missing):,} of {len(split_of):,} photos are missing, such as {missing[0]}", "all"
        )
    names = scan.read_id_mapping(captions / "id_mapping.json")
    with replacing(OUT) as temporary:
        (temporary / "pictures").mkdir(parents=True)
        scan_writing.write_id_mapping(temporary, {i: name for i, name in names.items() if name in split_of})
        for split in SPLITS:
            ids, texts = scan.read_captions(captions, split)
            found = [(i, group) for i, group in zip(ids, texts, strict=True) if split_of.get(names[i]) == split]
            wanted = sum(of == split for of in split_of.values())
            if len(found) != wanted:
                raise DataError.at(captions, f"captions of {len(found):,} photos of {split}", f"those of {wanted:,}")
            write(temporary, split, found, [files[number(names[i])] for i, _ in found], names)
            print(f"{split}: {len(found):,} photos, {sum(len(group) for _, group in found):,} captions")
    print(f"{OUT} is made. Next: dvc repro")


def write(
    folder: Path, split: str, images: Sequence[tuple[int, list[str]]], photos: Sequence[Path], names: dict[int, str]
) -> None:
    """Write a split's captions, and copy its photos."""
    ids, texts = [i for i, _ in images], [group for _, group in images]
    scan_writing.write_captions(folder, split, ids, texts, "caption")
    for i, photo in zip(ids, photos, strict=True):
        shutil.copyfile(photo, folder / "pictures" / names[i])


def number(name: str) -> str:
    """A photo's number at Flickr: Flickr8K has something behind it."""
    return name.removesuffix(".jpg").split("_")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="the folder of Flickr30K's or Flickr8K's photos")
    parser.add_argument("--captions", type=Path, required=True, help="Flickr30K's captions in SCAN's layout")
    given = parser.parse_args()
    try:
        main(given.photos, given.captions)
    except ITRError as error:
        sys.exit(f"error: {error}")
