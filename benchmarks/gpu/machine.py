"""Which machine this is: card, versions, clocks."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

import torch

_ASKED = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu")


def described(device: torch.device) -> dict[str, Any]:
    """Of the machine and its versions."""
    import transformers

    known: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cores": os.cpu_count(),
        "card": "none: on the CPU",
    }
    if device.type == "cuda":
        card: Any = torch.cuda.get_device_properties(device)
        cudnn: Any = torch.backends.cudnn
        known |= {"card": card.name, "memory_gb": card.total_memory / 1e9, "cuda": torch.version.cuda}
        known |= {"cudnn": cudnn.version(), "multiprocessors": card.multi_processor_count, **clocks()}
    return known


def clocks() -> dict[str, str]:
    """Driver, clocks and power as nvidia-smi says; empty where it is not there."""
    try:
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(_ASKED, (value.strip() for value in said.splitlines()[0].split(",")), strict=False))
