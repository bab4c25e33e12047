"""Stage `splits@<data>`: the caption table, and how far it agrees with Karpathy's JSON."""

from __future__ import annotations

from dataclasses import asdict

from itrcore import layout
from itrcore.data import captions
from itrcore.data.source import Source
from itrcore.data.sources import caption_table, obtain
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Read ids and captions of every split, check them, write one table."""
    source = Source.read(layout.raw(name))
    obtain.check_unchanged(source, layout.raw(name), ".txt", ".gz", ".json", ".parquet")
    table, counts = caption_table.build(source, params.dataset(name).source, layout.raw(name))
    captions.write(table, layout.captions(name), {split: asdict(count) for split, count in counts.items()})
    for split, count in counts.items():
        say(f"{name} {split}: {count}")


if __name__ == "__main__":
    run_stage(main)
