"""Stage `nltk`: nltk's sentence data, or the record that it cannot be had."""

from __future__ import annotations

from itrcore import layout
from itrcore.data.text import punkt
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, _: str) -> None:
    """Fetch the data that nltk.yaml names."""
    say(punkt.fetch(params.nltk, layout.NLTK))


if __name__ == "__main__":
    run_stage(main)
