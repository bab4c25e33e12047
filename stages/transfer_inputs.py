"""Stage `transfer_inputs@<name>`: what decides the scores of a run on another data set."""

from __future__ import annotations

from itrcore.runs import inputs
from itrcore.settings.params import Params
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Write the record that `transfer` depends on."""
    inputs.write_transfer(params, name)


if __name__ == "__main__":
    run_stage(main)
