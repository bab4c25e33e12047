"""Stage `shards@<data>`: WebDataset shards and their index."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.config import Params
from itrcore.data import shard_writer
from itrcore.data.source import Source
from itrcore.files import replacing
from stages import run_stage
from stages.progress import progress_bar


def main(params: Params, name: str) -> None:
    """Check every feature value while copying it into shards."""
    source = Source.read(layout.raw(name))
    with replacing(layout.shards(name)) as temporary, progress_bar(f"{name}: shards") as progress:
        temporary.mkdir(parents=True)
        shard_writer.write(
            Path(source.folder),
            source.splits,
            layout.captions(name),
            source.features,
            params.dataset(name).shards,
            temporary,
            progress,
        )


if __name__ == "__main__":
    run_stage(main)
