"""The device and precision asked for, or one error; one process, whatever variables of a launcher a shell still has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.device import make_accelerator
from itrcore.errors import ConfigError
from itrcore.settings.training import TrainingSettings

ROOT = Path(__file__).parents[1]
PROGRAM = """
import os
from itrcore.device import make_accelerator
from itrcore.settings.load import load
from itrcore.terminal import user_errors
before = dict(os.environ)
with user_errors():
    made = make_accelerator(load().training)
    print(made.num_processes, made.device.type, made.mixed_precision, {**before, **os.environ} == dict(os.environ))
"""
ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29541"}


def made(left: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as accelerate keeps what it found; an hour of waiting for others counts as failing."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **left}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize(
    "left",
    [
        {"LOCAL_RANK": "0"},
        {"RANK": "1", "LOCAL_RANK": "1", **ADDRESS},
        {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **ADDRESS},
        {"LOCAL_RANK": "none", "WORLD_SIZE": "", "ACCELERATE_MIXED_PRECISION": "half", "ACCELERATE_USE_FSDP": "true"},
    ],
    ids=["local rank", "rank", "one process", "no numbers"],
)
def test_variables_that_are_left_over_change_nothing(left: dict[str, str]) -> None:
    done = made(left)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 cpu no True\n"


@pytest.mark.parametrize("count", ["WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"])
def test_one_of_several_processes_is_refused_in_one_line(count: str) -> None:
    done = made({count: "2", "RANK": "0", "LOCAL_RANK": "0", **ADDRESS})
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {count} is 2 in the environment, but this is not a training that torchrun or accelerate launch started; "
        f"start it without a launcher, or run: unset {count}\n"
    )


SETTINGS = {"threads": 1, "save_every_steps": 1, "selection": {"captions": 1}}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("device", "precision", "said"),
    [
        ("cuda", "auto", "training.device is cuda, but torch finds no CUDA GPU; set it to auto or cpu"),
        ("cpu", "bf16", "training.precision is bf16, but the device has no fast bf16; set it to auto or float32"),
        ("auto", "bf16", "training.precision is bf16, but the device has no fast bf16; set it to auto or float32"),
    ],
)
def test_a_device_or_precision_that_is_not_there_is_a_clear_error(device: str, precision: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_accelerator(TrainingSettings.model_validate({**SETTINGS, "device": device, "precision": precision}))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("native", "precision", "expected"),
    [(True, "auto", "bf16"), (True, "float32", "no"), (False, "auto", "no"), (False, "bf16", None)],
)
def test_bf16_is_used_on_gpus_that_have_it_not_on_those_that_emulate_it(
    native: bool, precision: str, expected: str | None, monkeypatch: Any
) -> None:
    chosen: dict[str, Any] = {}

    class Recorded:
        num_processes = 1

        def __init__(self, **named: Any) -> None:
            chosen.update(named)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    monkeypatch.setattr("itrcore.device.Accelerator", Recorded)
    settings = TrainingSettings.model_validate({**SETTINGS, "device": "auto", "precision": precision})
    if expected is None:
        with pytest.raises(ConfigError):
            make_accelerator(settings)
    else:
        make_accelerator(settings)
        assert chosen["mixed_precision"] == expected
