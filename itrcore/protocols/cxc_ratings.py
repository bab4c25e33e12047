"""How alike people rated pairs of COCO's test images and captions, from 0 to 5: the CSV files of Crisscrossed Captions."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from itrcore.errors import DataError
from itrcore.files import WrongKind
from itrcore.protocols.coco_ids import Ids, resolve
from itrcore.protocols.contract import Judged
from itrcore.unpacking import lines

Kind = Literal["sis", "sts", "sits"]  # image and image, text and text, image and text
# The columns with the two items.
COLUMNS: dict[Kind, tuple[str, str]] = {
    "sis": ("image1", "image2"),
    "sts": ("caption1", "caption2"),
    "sits": ("image", "caption"),
}
_IDS = {
    "image": re.compile(r"COCO_val2014_(\d{12})\.jpg"),
    "caption": re.compile(r"COCO_val2014:sentid:(\d{1,18})"),
}


@dataclass(frozen=True)
class Ratings:
    """Rated pairs as places in the split: first and second (n_pairs,) int64, of the image in `sits`; scores (n_pairs,) float64."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray

    def both_ways(self) -> Ratings:
        """Each pair a second time with its items exchanged. Of a pair that is rated in both orders each rating counts both ways."""
        first, second = (np.concatenate(pair) for pair in ((self.first, self.second), (self.second, self.first)))
        return Ratings(first, second, np.concatenate([self.scores, self.scores]))

    def at_least(self, score: float) -> Ratings:
        """The pairs with this rating or a higher one."""
        kept = self.scores >= score
        return Ratings(self.first[kept], self.second[kept], self.scores[kept])


def of(judged: Judged, kind: Kind) -> Ratings:
    """The ratings of one kind. `DataError` where the file is missing or broken, or has ids that the split has not, with a count."""
    path, ids = _file(judged, kind), resolve(judged.images, judged.name)
    firsts, seconds, scores = read(path, kind)
    first, second = (
        _places(values, name, ids, path) for values, name in zip((firsts, seconds), COLUMNS[kind], strict=True)
    )
    return Ratings(first, second, np.array(scores))


def _file(judged: Judged, kind: Kind) -> Path:
    name = f"{kind}_test.csv"
    found = sorted(judged.cxc.rglob(name)) if judged.cxc is not None else []
    if len(found) != 1:
        raise DataError.at(
            f"{judged.cxc}", f"{len(found)} files {name}", "one, of Crisscrossed Captions", do="See docs/protocols.md."
        )
    return found[0]


def read(path: Path, kind: Kind) -> tuple[list[int], list[int], list[float]]:
    """COCO's ids of the two items of each rated pair, and the ratings. `DataError` names the row that is broken."""
    firsts, seconds, scores = list[int](), list[int](), list[float]()
    try:
        for number, row in enumerate(csv.DictReader(_lines(path))):
            for name, values in zip(COLUMNS[kind], (firsts, seconds), strict=True):
                text = row.get(name) or ""
                if (match := _IDS[name.rstrip("12")].fullmatch(text)) is None:
                    raise DataError.at(path, f"{name} {text[:50]!r}", "the name of one of COCO's", number)
                values.append(int(match[1]))
            scores.append(_score(row.get("agg_score") or "", path, number))
    except WrongKind as error:
        raise DataError.at(path, error.found, error.expected) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError.at(path, f"cannot be read ({error})", "a CSV file of Crisscrossed Captions") from error
    if not scores:
        raise DataError.at(path, "no rows", "a CSV file of Crisscrossed Captions")
    return firsts, seconds, scores


def _lines(path: Path) -> Iterator[str]:
    with open(path, "rb") as handle:
        for data in lines(handle):
            yield data.decode("utf-8-sig")


def _score(text: str, path: Path, number: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 5:
        raise DataError.at(path, f"agg_score {text[:50]!r}", "a number from 0 to 5", number)
    return score


def _places(values: list[int], name: str, ids: Ids, path: Path) -> np.ndarray:
    known = ids.images if name.startswith("image") else ids.captions
    place_of = {value: place for place, value in enumerate(known.tolist())}
    if strange := [value for value in values if value not in place_of]:
        raise DataError.at(
            path,
            f"{len(strange):,} of {len(values):,} ids in {name} cannot be resolved (the first: {strange[0]})",
            "ids of COCO's test images and captions",
        )
    return np.array([place_of[value] for value in values])
