"""Stage `inputs@<data>`: what decides the weights and the scores of each run on a data set."""

from __future__ import annotations

from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.terminal import say
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Write the records that `train` and `evaluate` depend on."""
    say(f"{name}: records of {inputs.write(params, name)} runs")


if __name__ == "__main__":
    run_stage(main)
