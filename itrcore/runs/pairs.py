"""negatives.parquet: how a run scores the right and the wrong caption of pictures of test. One row per pair of captions.

category        of the pair
image_id        of the picture
right, wrong    the similarity of either caption with the picture
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itrcore import intact
from itrcore.errors import DataError
from itrcore.files import WrongKind, replacing
from itrcore.tables import read_parquet

PAIRS = "negatives.parquet"
SCHEMA = pa.schema(
    [("category", pa.string()), ("image_id", pa.int64()), ("right", pa.float32()), ("wrong", pa.float32())]
)


@dataclass(frozen=True)
class Pairs:
    """categories: (n,) texts; image_ids: (n,) int64; scores: (n, 2), of the right and of the wrong caption, finite"""

    categories: np.ndarray
    image_ids: np.ndarray
    scores: np.ndarray

    def write(self, path: Path) -> None:
        """Write them as float32."""
        right, wrong = (pa.array(of_side, pa.float32()) for of_side in self.scores.T)
        columns = [pa.array(self.categories.tolist(), pa.string()), pa.array(self.image_ids), right, wrong]
        with replacing(path) as temporary:
            pq.write_table(pa.table(columns, SCHEMA), temporary, write_page_checksum=True)

    @classmethod
    def mixed(cls, members: Sequence[Pairs], weights: Sequence[float]) -> Pairs:
        """The weighted mean of the scores of several runs, as float32. `DataError` where they are of other pairs."""
        first = members[0]
        for member in members:
            if not (
                np.array_equal(member.categories, first.categories)
                and np.array_equal(member.image_ids, first.image_ids)
            ):
                raise DataError("an ensemble's runs were evaluated with different hard negatives; run dvc repro")
        total = sum(weight * member.scores.astype(np.float64) for member, weight in zip(members, weights, strict=True))
        return cls(first.categories, first.image_ids, np.asarray(total, np.float32))


def open_pairs(folder: Path, split: str, files: Mapping[str, str], stage: str) -> Pairs:
    """The pairs of a split. folder: of the evaluation; files: path below it → SHA-256, as its record has them

    `DataError` where they are missing, damaged, or not what a stage of this name writes.
    """
    name = f"{split}/{PAIRS}"
    if name not in files:
        raise DataError.at(folder, "no scores of hard negatives", "those of the data set", do=f"Run: dvc repro {stage}")
    intact.check(folder, {name: files[name]})
    path = folder / name
    try:
        table = read_parquet(path, SCHEMA)
        if any(table[column].null_count for column in SCHEMA.names):
            raise WrongKind("values are missing", "none")
        columns = {column: table[column].combine_chunks().to_numpy(zero_copy_only=False) for column in SCHEMA.names}
        scores = np.stack([columns["right"], columns["wrong"]], axis=1)
        if not np.isfinite(scores).all():
            raise WrongKind("a score is not finite", "numbers")
    # A changed size may be any.
    except (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise DataError.at(
            path, f"not readable ({error})", "scores of pairs of captions", do=f"Run: dvc repro {stage}"
        ) from error
    return Pairs(columns["category"], columns["image_id"], scores)
