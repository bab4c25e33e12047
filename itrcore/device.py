"""Where and how precisely to compute: accelerate, set up from the training settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from itrcore.errors import ConfigError
from itrcore.settings.training import TrainingSettings

# What launchers of several processes (torchrun, MPI, accelerate) tell each of them, and how many they say there are.
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED")
_LAUNCHED_PREFIXES = ("ACCELERATE_", "PMI_", "MPI_LOCAL", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """An accelerator for one process, whatever variables of a launcher of processes a shell still has.

    `ConfigError` where the device or precision asked for is not there, and where this is one of several processes.
    """
    for name in _COUNTS:
        if os.environ.get(name, "").strip().isdecimal() and int(os.environ[name]) > 1:
            raise ConfigError(
                f"{name} is {os.environ[name]} in the environment, but training over several processes is not supported; "
                f"start it without torchrun, mpirun or accelerate launch, or run: unset {name}"
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
    with _no_launcher():
        return Accelerator(
            cpu=settings.device == "cpu", mixed_precision="bf16" if bf16 and settings.precision != "float32" else "no"
        )


def precision(accelerator: Accelerator) -> str:
    """What it computes with, as `training.precision` calls it: `bf16` or `float32`."""
    return "bf16" if accelerator.mixed_precision == "bf16" else "float32"


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
