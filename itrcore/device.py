"""Where and how precisely to compute: accelerate, set up from the training settings; and joining other processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import distributed

from itrcore.errors import ConfigError
from itrcore.layers import together
from itrcore.settings.training import TrainingSettings

# What launchers of several processes (torchrun, accelerate, MPI) tell each of them, and how many they say there are.
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED")
_LAUNCHED_PREFIXES = ("ACCELERATE_", "PMI_", "MPI_LOCAL", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
_AMPERE = (8, 0)
# For the first process, which alone evaluates and writes. Whoever launched them notices an end.
_PATIENCE = timedelta(days=2)


def launched() -> bool:
    """Whether a launcher (torchrun, accelerate launch) started this process and others to train together."""
    return os.environ.get("WORLD_SIZE", "").isdecimal() and int(os.environ["WORLD_SIZE"]) > 1 and "RANK" in os.environ


def join(group: Path | None = None) -> None:
    """Join the other processes. Only the first one talks from now on. group: a file to meet at; None: the launcher's address"""
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = "env://" if group is None else group.absolute().as_uri()
    distributed.init_process_group(init_method=where, rank=number, world_size=count, timeout=_PATIENCE)
    if number:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (as long as the process)


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """An accelerator for this process, whatever variables of a launcher of processes a shell still has.

    `ConfigError` where the device or precision asked for is not there, and where this is one of several processes that have not
    joined: only a training has work for several.
    """
    for name in _COUNTS:
        count = os.environ.get(name, "").strip()
        if together.count() == 1 and count.isdecimal() and int(count) > 1:
            raise ConfigError(
                f"{name} is {count} in the environment, but this is not a training that torchrun or accelerate launch "
                f"started; start it without a launcher, or run: unset {name}"
            )
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigError("training.device is cuda, but torch finds no CUDA GPU; set it to auto or cpu")
    if settings.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("training.device is mps, but torch finds no Apple GPU; set it to auto or cpu")
    # Emulated bf16 (GPUs before Ampere) is slower than float32 and no more precise.
    bf16 = cuda and settings.device in ("auto", "cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    if settings.precision == "bf16" and not bf16:
        raise ConfigError("training.precision is bf16, but the device has no fast bf16; set it to auto or float32")
    tf32 = settings.precision == "tf32"
    if tf32 and not (cuda and settings.device in ("auto", "cuda") and torch.cuda.get_device_capability() >= _AMPERE):
        raise ConfigError("training.precision is tf32, but the device has no TF32; set it to auto or float32")
    # Said for each kind of operation: torch computes some of them in TF32 unless told otherwise.
    backends: Any = torch.backends
    for operations in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        operations.fp32_precision = "tf32" if tf32 else "ieee"
    with _no_launcher():
        return Accelerator(
            cpu=settings.device == "cpu",
            mixed_precision="bf16" if bf16 and settings.precision in ("auto", "bf16") else "no",
        )


def precision(accelerator: Accelerator) -> str:
    """What it computes with, as `training.precision` calls it: `bf16`, `tf32` or `float32`."""
    if accelerator.mixed_precision == "bf16":
        return "bf16"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "float32"


@contextmanager
def _no_launcher() -> Iterator[None]:
    """Meanwhile the environment has none of a launcher's variables: accelerate would wait for other processes, or fail."""
    hidden = {
        name: value for name, value in os.environ.items() if name in _LAUNCHED or name.startswith(_LAUNCHED_PREFIXES)
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
