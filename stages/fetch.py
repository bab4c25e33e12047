"""Stage `fetch@<name>`: what a download's parts name, into `downloads/<name>`, and the record of it."""

from __future__ import annotations

from itrcore import layout
from itrcore.fetch.parts import fetch
from itrcore.progress import byte_bars
from itrcore.settings.params import Params
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Fetch every part of the download: a bar for each file on a terminal, a line for what is finished everywhere."""
    parts = params.download(name)
    with byte_bars() as bars:
        fetch(name, parts, layout.DOWNLOADS, bars)


if __name__ == "__main__":
    run_stage(main)
