"""Trained runs as registered models of MLflow: one model for each data set, whose champion is the run that is best on dev."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from itrcore import layout, registry
from itrcore.files import sha256
from itrcore.runs.folder import METRICS, RUN, read
from itrcore.runs.records import Run
from itrcore.settings.params import Params
from itrcore.tracking.run_log import is_evaluated
from itrcore.tracking.tracker import Tracker

# By its name in a string: the stage report does not run again for what runs are made of (`itrcore/code.py`).
_WRITE = "itrcore.serving.model_folder:write"


def best_on_dev(params: Params, data: str) -> Run | None:
    """Of the data set's evaluated runs the one with the highest rsum on dev, by which models are chosen: test is for figures alone.

    Of equal ones the first in params.yaml; None where no run has results.
    """
    runs = list[Run]()
    for name, settings in params.runs.items():
        folder, results = layout.run(data, name), layout.result(data, name)
        if settings.data == data and (folder / RUN).exists() and (results / METRICS).exists():
            run = read(folder / RUN, Run, f"train@{name}")
            if run.dev_rsum is not None and is_evaluated(folder, results):
                runs.append(run)
    return max(runs, key=lambda run: run.dev_rsum or 0.0, default=None)


def keep_champions(params: Params, begin: bool = False) -> dict[str, Run]:
    """Make the best run on dev the champion of each data set that has a registered model; what was changed, by model.

    begin: also of data sets that have no registered model yet. A trial of `dvc exp` changes nothing.
    Where MLflow fails, one warning says so. `DataError` where a file of a run or a data set is damaged.
    """
    tracker, changed = Tracker.of(params), dict[str, Run]()
    for data in {run.data: None for run in params.runs.values()} if params.trial is None else ():
        model = tracker.models(data)
        best = best_on_dev(params, data) if model is not None and (begin or model.exists) else None
        if model is None or best is None:
            continue
        result = sha256(layout.run(data, best.name) / RUN)
        if model.champion == result:
            continue
        if result in model.versions:
            done = tracker.crown(data, model.versions[result])
        else:
            with TemporaryDirectory() as temporary:
                registry.load(_WRITE)(Path(temporary, "model"), data, best.name)
                done = tracker.register(data, best.name, Path(temporary, "model"), result)
        if done:
            changed[model.name] = best
    return changed
