"""A run that is not trained: its weights are the published ones, and its folder is that of any other run."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from itrcore import layout
from itrcore.announce import announced
from itrcore.assets import assets
from itrcore.data.feeding.prepared import feature_width
from itrcore.errors import ConfigError
from itrcore.files import sha256_of_all
from itrcore.methods.build import build
from itrcore.methods.describe import describe
from itrcore.runs import inputs
from itrcore.runs.folder import RUN, untrained, write
from itrcore.runs.observer import Observer
from itrcore.runs.records import Run
from itrcore.settings.params import Params
from itrcore.terminal import say

SELECTED_ON = "nothing (zero-shot)"


def write_run(params: Params, name: str, observer: Observer) -> Path:
    """Write the folder of run `name`: all that a training writes but history.json, as there is none. Returns the folder.

    `ConfigError` where the run is trained or imported. `DataError` where its pretrained weights cannot be had.
    """
    run, settings = params.run(name), params.method_of(name)
    if run.checkpoint is not None or not settings.zero_shot:
        raise ConfigError(f"runs.{name} is not zero-shot: it is trained or imported")
    record = inputs.training(params, name)
    with announced("Building the method from its published weights"):
        prepared = assets.prepare(
            settings.model, layout.vocabulary(run.data), layout.NLTK, feature_width(run.data), layout.concepts(run.data)
        )
        method = build(settings, prepared.image, prepared.text.source, 0, prepared.concepts)
    description = describe(params, name, settings, prepared, method, record, SELECTED_ON)
    with untrained(description, observer) as temporary:
        prepared.save(temporary)
        tensors = {key: value.contiguous() for key, value in method.state_dict().items()}
        save_file(tensors, temporary / layout.WEIGHTS)
        write(temporary / RUN, Run(**dict(description), files=sha256_of_all(temporary), best_epoch=0))
    say(f"Zero-shot: nothing is trained, {name} has the published weights.")
    return layout.run(run.data, name)
