"""The record of where a data set's files lie: read back as written, and refused where its values are of other kinds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from itrcore.data.source import Source
from itrcore.errors import DataError
from itrcore.files import write_sealed


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    source = Source("synthetic", folder="a", published={"url": "b", "cache": "c"})
    source.write(tmp_path)
    assert Source.read(tmp_path) == source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": None}, "features is null; expected text"),
        ({"folder": 5}, "folder is 5; expected text"),
        ({"karpathy": ["k.json"]}, "karpathy is a list; expected text"),
        ({"splits": {"train": None}}, "train of splits is null; expected text"),
        ({"splits": None}, "splits is null; expected text"),
        ({"published": {"url": "b", "cache": None}}, "cache of published is null; expected text"),
    ],
)
def test_null_or_a_number_is_never_taken_for_text(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write_sealed(tmp_path / "source.json", {**asdict(Source("none")), **change})
    with pytest.raises(DataError, match=rf"source\.json: cannot be read \({message}\).*Run: dvc repro"):
        Source.read(tmp_path)
