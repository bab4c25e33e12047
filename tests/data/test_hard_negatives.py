"""SugarCrepe's files as released, and which of their pairs are of COCO's test pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from itrcore.data import captions, hard_negatives
from itrcore.errors import DataError
from itrcore.evaluation.negatives import of_test


def test_sugar_crepes_pairs_of_test_pictures(shared_data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    rows = []
    for split, name in (("train", "train"), ("dev", "dev"), ("test", "testall")):
        ids = list(dict.fromkeys(map(int, (shared_data / "coco_scan" / f"{name}_ids.txt").read_text().split())))
        if split == "dev":  # SCAN's has a fifth of Karpathy's
            ids = list(dict.fromkeys(map(int, (shared_data / "coco_scan" / "devall_ids.txt").read_text().split())))
        rows += [(image, None, split, place, image, "a") for place, image in enumerate(ids)]
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), captions.SCHEMA, strict=True)
    ]
    captions.write(pa.table(columns, captions.SCHEMA), tmp_path / "data/coco/captions.parquet")
    monkeypatch.chdir(tmp_path)
    folder = shared_data / "sugar_crepe"
    assert Counter(pair.category for _, pair in of_test(folder, "coco")) == {
        "replace_obj": 189, "replace_att": 100, "replace_rel": 166, "swap_obj": 33, "swap_att": 71, "add_obj": 211, "add_att": 82,
    }  # fmt: skip
    assert len(hard_negatives.read(folder)) == 7511


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"0 files replace_obj\.json; expected one, of SugarCrepe"):
        hard_negatives.read(tmp_path)
