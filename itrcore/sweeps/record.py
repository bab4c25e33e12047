"""What decides the results of a sweep's trials. No Optuna here: each training looks whether it is still what it was."""

from __future__ import annotations

from itrcore.files import digest
from itrcore.runs import inputs
from itrcore.runs.records import Inputs
from itrcore.settings.sweeps import Sweep

_DIGEST = 12


def record_of(sweep: Sweep) -> Inputs:
    """What decides the trials' results: code, settings and data, as of a training, and the sweep's own settings.

    Not how many trials there are: more of them may be added. `DataError` where the data set is not prepared.
    """
    known = [inputs.training(params, sweep.name) for params in sweep.variants()]
    settings = {**known[0]["settings"], "sweep": sweep.settings.model_dump(mode="json", exclude={"trials", "run"})}
    # Values may have code of their own, such as another kind of loss.
    return {
        **known[0],
        "code": {key: value for each in known for key, value in each["code"].items()},
        "settings": settings,
    }


def name_of(record: Inputs) -> str:
    """The name of the study whose trials it decides."""
    return digest(record)[:_DIGEST]
