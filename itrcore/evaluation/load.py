"""Loading a trained run: its record, its model with its weights, and what that was built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from itrcore import intact, layout
from itrcore.announce import announced
from itrcore.assets import assets
from itrcore.assets.assets import Assets
from itrcore.errors import DataError
from itrcore.methods.build import build
from itrcore.methods.contract import Method
from itrcore.runs.folder import RUN, read
from itrcore.runs.records import Run


@dataclass(frozen=True)
class LoadedRun:
    """A run's method with its weights, on the CPU."""

    record: Run
    method: Method[Any, Any]
    assets: Assets


def load_run(folder: Path) -> LoadedRun:
    """The run of a folder, built anew from its record, text/, image/ and weights. `DataError` where one is damaged or missing."""
    record = read(folder / RUN, Run, f"train@{folder.name}")
    intact.check(folder, record.files)
    path = folder / layout.WEIGHTS
    with announced(f"Loading {record.name}"):
        restored = assets.restore(record.settings.model, folder, record.width)
        method = build(record.settings, restored.image, restored.text.source, 0, restored.concepts)
        try:
            method.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: readable, but other tensors
            raise DataError.at(
                path, f"cannot be loaded ({error})", f"the weights of {record.name}", do="Run: dvc repro"
            ) from error
    return LoadedRun(record, method, restored)
