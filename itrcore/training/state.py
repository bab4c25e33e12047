"""What a killed training needs to go on: weights, optimiser state and position, whole or not at all.

    <folder>/step-00000620/{model.safetensors, optimiser.safetensors, state.json}
    <folder>/best-00007.safetensors     weights of the best epoch so far

Randomness needs no state: everything random in a step follows from (seed, epoch, step).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from itrcore.files import read_json, remove, replacing


@dataclass
class TrainingState:
    """Where a training stands.

    identity: digest of everything that decides the result; a state of another identity is not continued
    epoch, step: the next step to do (step counts within the epoch, global_step over all)
    losses: sums of the loss terms over the steps of the unfinished epoch
    history: one record per finished epoch
    best: epoch (from 1), dev rsum and file of the best weights, once there are any
    seconds: training time so far, over all attempts
    tracking_id: the tracker's run that this training logs to
    """

    identity: str
    epoch: int = 0
    step: int = 0
    global_step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    tracking_id: str | None = None


class StateFolder:
    """The folder of one training's state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, identity: str) -> tuple[TrainingState, dict[str, Tensor], dict[str, Any]] | None:
        """The newest whole state: (state, weights, optimiser state dict); None where there is none of this identity.

        A folder that belongs to another identity is emptied: it can never be continued.
        """
        for path in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                state = TrainingState(**read_json(path / "state.json"))
                weights = load_file(path / "model.safetensors")
                optimiser = _unflatten(path / "optimiser.safetensors")
            except (OSError, ValueError, TypeError, SafetensorError):
                continue  # renamed into place only when whole, so this is damage from outside; an older one may serve
            if state.identity == identity and (state.best is None or (self.folder / state.best["file"]).exists()):
                return state, weights, optimiser
        self.clear()
        return None

    def save(self, state: TrainingState, model: torch.nn.Module, optimiser: dict[str, Any]) -> None:
        """Write the state under a temporary name, rename it, then remove what it replaces."""
        path = self.folder / f"step-{state.global_step:08d}"
        with replacing(path) as temporary:
            temporary.mkdir(parents=True)
            save_file(_tensors(model), temporary / "model.safetensors")
            _flatten(optimiser, temporary / "optimiser.safetensors")
            (temporary / "state.json").write_text(json.dumps(asdict(state)), "utf-8")
        keep = {path.name, state.best["file"] if state.best else ""}
        for other in self.folder.iterdir():
            if other.name not in keep:
                remove(other)

    def save_best(self, epoch: int, model: torch.nn.Module) -> str:
        """Write the weights of a new best epoch; returns the file's name. The old ones go when the state is saved."""
        name = f"best-{epoch:05d}.safetensors"
        save_weights(model, self.folder / name)
        return name

    def clear(self) -> None:
        """Remove the folder."""
        remove(self.folder)


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write a model's weights as safetensors, atomically."""
    with replacing(path) as temporary:
        save_file(_tensors(model), temporary)


def _tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _flatten(optimiser: dict[str, Any], path: Path) -> None:
    tensors = {
        f"{number}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in optimiser["state"].items()
        for name, value in values.items()
    }
    save_file(tensors, path, {"param_groups": json.dumps(optimiser["param_groups"])})


def _unflatten(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        groups = json.loads(file.metadata()["param_groups"])
        for key in file.keys():  # noqa: SIM118 (safetensors' handle is no mapping)
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = file.get_tensor(key)
    return {"state": state, "param_groups": groups}
