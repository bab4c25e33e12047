"""What run.json says of a run before it has weights, trained or imported."""

from __future__ import annotations

from typing import Any

from itrcore import layout
from itrcore.assets.assets import Assets
from itrcore.data.feeding.prepared import features_of
from itrcore.files import digest
from itrcore.methods.contract import Method
from itrcore.provenance import code_version
from itrcore.runs.digests import captions_of
from itrcore.runs.records import Checkpoint, Inputs, Origin, RunDescription
from itrcore.settings.methods import MethodSettings
from itrcore.settings.params import Params


def describe(
    params: Params,
    name: str,
    settings: MethodSettings,
    assets: Assets,
    method: Method[Any, Any],
    inputs: Inputs,
    selected_on: str,
    checkpoint: Checkpoint | None = None,
) -> RunDescription:
    """The description of run `name`, whose method is built.

    settings: with the sizes of the method; inputs: what decides its weights; checkpoint: of an import alone
    """
    run = params.run(name)
    origin: Origin = "imported" if checkpoint else "zero-shot" if settings.zero_shot else "trained"
    return RunDescription(
        name=name,
        data=run.data,
        method=run.method,
        seed=run.seed,
        profile=run.changes,
        family=settings.family,
        origin=origin,
        selected_on=selected_on,
        settings=settings,
        training=params.training if origin == "trained" else None,
        checkpoint=checkpoint,
        features=features_of(run.data, settings.model.reads_pixels, params.dataset(run.data).drawn),
        width=assets.image.width,
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        data_digest=digest([captions_of(layout.captions(run.data), split) for split in ("train", "dev")]),
        text_digest=assets.text.digest,
        image_digest=assets.image.digest,
        code_version=code_version(),
        inputs=inputs,
    )
