"""Stage `train@<run>`: train one method on one data set with one seed, or import a released checkpoint in its place."""

from __future__ import annotations

from itrcore.runs import inputs
from itrcore.settings.params import Params
from itrcore.tracking import Tracker
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Train, from where a killed attempt stopped if there was one; or import."""
    inputs.checked(params, "train", name)
    observer = Tracker.of(params).training()
    if params.run(name).checkpoint is None:
        from itrcore.training.train import train

        train(params, name, observer)
    else:
        from itrcore.released.importing import import_run

        import_run(params, name, observer)


if __name__ == "__main__":
    run_stage(main)
