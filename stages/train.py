"""Stage `train@<run>`: train one method on one data set with one seed."""

from __future__ import annotations

from itrcore.config import Params
from itrcore.tracking import Tracker
from itrcore.training.run import train
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Train, from where a killed attempt stopped if there was one."""
    train(params, name, Tracker().training())


if __name__ == "__main__":
    run_stage(main)
