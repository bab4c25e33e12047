"""Stage `extractor@<data>`: what decides the features that are computed from a data set's pictures, or that there are none."""

from __future__ import annotations

from itrcore import layout
from itrcore.files import write_json
from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Write the record that the stage `features` depends on: nothing else makes it compute again."""
    record = inputs.extraction(params, name)
    write_json(layout.extraction(name), record)
    say(f"{name}: " + (f"{params.dataset(name).label} from its pictures" if record else "no features are computed"))


if __name__ == "__main__":
    run_stage(main)
