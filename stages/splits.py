"""Stage `splits@<data>`: the caption table."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.data import captions, splits
from itrcore.data.source import Source
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Read ids and captions of every split, check them, write one table."""
    source = Source.read(layout.raw(name))
    table = splits.build(Path(source.folder), source.splits)
    captions.write(table, layout.captions(name))
    counts = {row["values"]: row["counts"] for row in table["split"].value_counts().to_pylist()}
    print(f"{name}: captions " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))


if __name__ == "__main__":
    run_stage(main)
