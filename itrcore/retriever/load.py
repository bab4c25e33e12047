"""`itrcore.load`: a trained run, from its folder or from MLflow."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from itrcore import layout
from itrcore.errors import ConfigError, DataError, first_line
from itrcore.evaluation.load import load_run
from itrcore.retriever.retriever import Retriever
from itrcore.runs.folder import RUN
from itrcore.tracking import checkpoints

_MLFLOW = "mlflow:"


def load(where: str | os.PathLike[str], device: str = "auto") -> Retriever:
    """A trained or imported run, ready to encode, compare and search.

    where: the run's folder, such as runs/f30k/f30k-esa_bigru-1, wherever it was moved or copied to: it needs nothing else of the
        project. Or its checkpoint, model.safetensors in that folder. Or `mlflow:` and the id of a run in MLflow, or `mlflow:` and
        the name of a run behind that of its MLflow experiment: `mlflow:f30k/f30k/f30k-esa_bigru-1` is the current one of that name.
        The store is that of MLFLOW_TRACKING_URI, else mlflow.db in the current folder
    device: cpu, cuda, cuda:1, mps; auto: a GPU where there is one

    `DataError` where there is no run, or a file of it is damaged. `ConfigError` where the device is not there.

    >>> import itrcore
    >>> run = itrcore.load("runs/scenes/scenes-esl_h_clip-1", device="cpu")
    >>> run
    <scenes-esl_h_clip-1: esl_a_clip, reads pictures, on cpu>
    """
    chosen = _device(device)
    if (name := os.fspath(where)).startswith(_MLFLOW):
        with TemporaryDirectory() as copy:
            return Retriever(load_run(checkpoints.download(name.removeprefix(_MLFLOW), Path(copy))), chosen)
    folder = Path(where).expanduser()
    if folder.name == layout.WEIGHTS and (folder.parent / RUN).exists():
        folder = folder.parent
    if folder.is_file():
        do = "Add a released checkpoint as a run: itr import --help"
        raise DataError.at(folder, "a file", "the folder of a run, with run.json and its weights", do=do)
    if not (folder / RUN).exists():
        raise DataError.at(folder, f"no {RUN} in it", "the folder of a run, such as runs/f30k/f30k-esa_bigru-1")
    return Retriever(load_run(folder), chosen)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {name}: it cannot be used ({first_line(error)}); expected auto, cpu or a GPU"
        ) from error
    return device
