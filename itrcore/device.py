"""Where and how precisely to compute: accelerate, set up from the training settings."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from itrcore.errors import ConfigError
from itrcore.settings.training import TrainingSettings


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """An accelerator for one process. `ConfigError` where the device or precision asked for is not there."""
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigError("training.device is cuda, but torch finds no CUDA GPU; set it to auto or cpu")
    if settings.device == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("training.device is mps, but torch finds no Apple GPU; set it to auto or cpu")
    # Emulated bf16 (GPUs before Ampere) is slower than float32 and no more precise.
    bf16 = cuda and settings.device in ("auto", "cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    if settings.precision == "bf16" and not bf16:
        raise ConfigError("training.precision is bf16, but the device has no fast bf16; set it to auto or float32")
    accelerator = Accelerator(
        cpu=settings.device == "cpu", mixed_precision="bf16" if bf16 and settings.precision != "float32" else "no"
    )
    if accelerator.num_processes > 1:
        raise ConfigError("training over several processes is not supported yet; start it without accelerate launch")
    return accelerator


def precision(accelerator: Accelerator) -> str:
    """What it computes with, as `training.precision` calls it: `bf16` or `float32`."""
    return "bf16" if accelerator.mixed_precision == "bf16" else "float32"
