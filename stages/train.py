"""Stage `train@<run>`: train one method on one data set with one seed; or take a checkpoint, a pulled run, published weights."""

from __future__ import annotations

from itrcore.runs import inputs
from itrcore.settings.load import load
from itrcore.settings.params import Params
from itrcore.tracking.live import LiveTraining
from itrcore.tracking.tracker import Tracker
from stages import run_stage


def main(params: Params, name: str) -> None:
    """Train, from where a killed attempt stopped if there was one; or import; or copy what was pulled; or write a zero-shot run."""
    inputs.checked(params, "train", name)
    if (checkpoint := params.run(name).checkpoint) is not None and checkpoint.source is not None:
        from itrcore.runs.pulled import write_run as write_pulled

        write_pulled(params, name, LiveTraining(Tracker.of(params)))
        return
    if checkpoint is not None:
        from itrcore.released.importing import import_run

        import_run(params, name, LiveTraining(Tracker.of(params)))
        return
    if params.method_of(name).zero_shot:
        from itrcore.training.zero_shot import write_run

        write_run(params, name, LiveTraining(Tracker.of(params)))
        return
    from itrcore.device import join, launched
    from itrcore.training.launch import launch

    if launched():
        join()
        one_of_several(name)
    elif params.training.processes > 1:
        launch(params.training.processes, f"train@{name}", one_of_several, name)
    else:
        _train(params, name)


def one_of_several(name: str) -> None:
    """Train in one of the processes that train together."""
    _train(load(), name)


def _train(params: Params, name: str) -> None:
    from itrcore.training.train import train

    train(params, name, LiveTraining(Tracker.of(params)))


if __name__ == "__main__":
    run_stage(main)
