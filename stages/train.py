"""Stage `train@<run>`: train one method on one data set with one seed, or import a released checkpoint in its place."""

from __future__ import annotations

from itrcore.config import Params
from itrcore.released.run import import_run
from itrcore.tracking import Tracker
from itrcore.training.run import train
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Train, from where a killed attempt stopped if there was one; or import."""
    observer = Tracker().training()
    if params.run(name).checkpoint is None:
        train(params, name, observer)
    else:
        import_run(params, name, observer)


if __name__ == "__main__":
    run_stage(main)
