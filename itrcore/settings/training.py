"""What `training:` in params.yaml may say: what every training shares."""

from __future__ import annotations

from typing import Literal

from itrcore.settings.strict import Count, Settings


class SelectionSettings(Settings):
    """Which checkpoint of a training is kept: the one of highest rsum on the first captions of dev."""

    captions: Count


class TrainingSettings(Settings):
    """What every training shares, whatever the method."""

    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "tf32", "bf16"]  # auto: bf16 on a GPU that has it, else float32
    compile: bool = False  # parts of a step by torch.compile: minutes at the beginning, then fewer, larger kernels
    features: Literal["auto", "host", "device"] = "auto"  # where regions and CLIP's pictures are; auto: a GPU with room
    processes: Count = 1  # that train a run together on this machine, each on its share of a batch and its own GPU
    micro_batch: Count | None = None  # pairs of a process that are encoded at once; None: as many as fit
    threads: Count  # CPU threads; part of the result, as sums split differently over other numbers of threads
    save_every_steps: Count  # a killed run repeats at most this many steps
    selection: SelectionSettings
