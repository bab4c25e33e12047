"""Stage `raw@<data>`: SCAN's files from the data set's source."""

from __future__ import annotations

from itrcore import layout
from itrcore.data.sources import obtain
from itrcore.progress import counting
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Make the files, or check and point to them."""
    with counting(f"{name}: features", "images") as progress:
        source = obtain.make(params.dataset(name).source, layout.raw(name), progress)
    if source.published:
        say(f"{name}: {source.features} features in shards at {source.published['url']}")
    elif source.features == "none":
        say(f"{name}: no features, pictures in {source.pictures}")
    else:
        say(f"{name}: {source.features} features in {source.folder}")


if __name__ == "__main__":
    run_stage(main)
