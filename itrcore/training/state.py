"""What a killed training needs to go on: weights, optimiser state and position, whole or not at all.

    <folder>/step-00000620/{model.safetensors, optimiser.safetensors, state.json}
    <folder>/best-00007.safetensors     weights of the best evaluation so far
    <folder>/finished.json              in place of step-…: the training is done; kept until DVC has recorded its results
    <folder>/log.txt                    what its attempts have said (`transcript.py`)

Randomness needs no state: everything random in a step follows from (seed, epoch, step).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from itrcore import layout
from itrcore.errors import TrainingError
from itrcore.files import parse_json, read_json, remove, replacing, sealed, sha256, write_sealed
from itrcore.runs.records import Point
from itrcore.terminal import say

if TYPE_CHECKING:  # a finished training is looked at, and cleared, without torch
    from torch import Tensor, nn

_MODEL, _OPTIMISER, _STATE = "model.safetensors", "optimiser.safetensors", "state.json"


class Best(BaseModel):
    """The best evaluation so far: epochs done by then, its rsum and what was chosen on dev, file and SHA-256 of its weights."""

    epoch: int | float
    rsum: float
    chosen: dict[str, float]
    file: str
    sha256: str


class TrainingState(BaseModel):
    """Where a training stands.

    identity: digest of everything that decides the result; a training goes on only from a state of its own identity
    epoch, step: the next step to do (step counts within the epoch, global_step over all)
    losses, part_steps, part_seconds: sums of the loss terms, steps and training time since the last evaluation
    history: one point per evaluation; best: once there is one
    seconds: training time so far, over all attempts
    tracking_id: the tracker's run that this training logs to
    micro_batch: pairs that are encoded at once, as memory allows (`itrcore/methods/parts.py`); None: all of a batch
    """

    identity: str
    epoch: int = 0
    step: int = 0
    global_step: int = 0
    losses: dict[str, float] = {}
    history: list[Point] = []
    best: Best | None = None
    seconds: float = 0.0
    part_steps: int = 0
    part_seconds: float = 0.0
    tracking_id: str | None = None
    micro_batch: int | None = None


class Finished(BaseModel):
    """A training that is done.

    identity, history, best, seconds, tracking_id, micro_batch: as of its last state
    device, precision: what it computed on and with
    """

    identity: str
    history: list[Point]
    best: Best
    seconds: float
    tracking_id: str | None
    device: str
    precision: str
    micro_batch: int | None = None


class StateFolder:
    """The folder of one training's state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self, seconds: float = 0.0) -> Iterator[None]:
        """Keep other processes out: two that train one run would remove each other's files. `TrainingError` for the second.

        seconds: how long it waits for the first to end
        The system releases the lock when the process ends, in whatever way.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            raise TrainingError(
                f"{self.folder}: another process is training this run now; wait until it is done, or end it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def load(self, identity: str) -> tuple[TrainingState, dict[str, Tensor], dict[str, Any]] | None:
        """The newest undamaged state of this identity: (state, weights, optimiser's state dict). None where there is none.

        States that cannot be used stay until the next one is saved.
        """
        from safetensors.torch import load_file

        for path in sorted(self.folder.glob("step-*"), reverse=True):
            try:
                state = self._read(path)
                if state.identity == identity:
                    return state, load_file(path / _MODEL), _unflatten(path / _OPTIMISER)
                say(f"{path} is of other settings, data or code: not continued.")
            except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
                # It was whole when it was renamed into place, so the damage is from outside. An older one may be whole.
                say(f"{path} is damaged ({error}): not continued.")
        return None

    def unfinished(self) -> str | None:
        """The identity of the newest state; None where there is none that can be read. The files beside it are not checked."""
        for path in sorted(self.folder.glob("step-*"), reverse=True)[:1]:
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                return str(sealed(read_json(path / _STATE))["state"]["identity"])
        return None

    def _read(self, path: Path) -> TrainingState:
        value = sealed(read_json(path / _STATE))
        state = TrainingState.model_validate(value["state"])
        files = {path / name: wanted for name, wanted in value["files"].items()}
        if state.best is not None:
            files[self.folder / state.best.file] = state.best.sha256
        for file, wanted in files.items():
            if sha256(file) != wanted:
                raise ValueError(f"the content of {file.name} has changed")
        return state

    def save(self, state: TrainingState, model: nn.Module, optimiser: dict[str, Any]) -> None:
        """Write the state under a temporary name, rename it, then remove the states and weights that it replaces.

        model: method and loss; optimiser: its state dict
        """
        from safetensors.torch import save_file

        path = self.folder / f"step-{state.global_step:08d}"
        with replacing(path) as temporary:
            temporary.mkdir(parents=True)
            save_file(_tensors(model), temporary / _MODEL)
            _flatten(optimiser, temporary / _OPTIMISER)
            value = {
                "state": state.model_dump(mode="json"),
                "files": {name: sha256(temporary / name) for name in (_MODEL, _OPTIMISER)},
            }
            write_sealed(temporary / _STATE, value)
        keep = {path.name, layout.LOG, state.best.file if state.best else ""}
        for other in self.folder.iterdir():
            if other.name not in keep:
                remove(other)

    def save_best(self, point: Point, method: nn.Module) -> Best:
        """Write the weights of a new best evaluation. The next `save` removes the old ones."""
        from safetensors.torch import save_file

        path = self.folder / f"best-{point.evaluation:05d}.safetensors"
        with replacing(path) as temporary:
            save_file(_tensors(method), temporary)
        return Best(epoch=point.epoch, rsum=point.dev.rsum, chosen=point.chosen, file=path.name, sha256=sha256(path))

    def finish(self, finished: Finished) -> None:
        """Write that the training is done, then remove what only a training that goes on needs."""
        write_sealed(self.folder / layout.FINISHED, finished.model_dump(mode="json"))
        for path in self.folder.glob("step-*"):
            remove(path)

    def finished(self, identity: str | None = None) -> Finished | None:
        """The finished training of this identity (None: of any) whose weights are undamaged; None where there is none."""
        try:
            finished = Finished.model_validate(sealed(read_json(self.folder / layout.FINISHED)))
            if identity in (None, finished.identity) and sha256(self.weights(finished.best)) == finished.best.sha256:
                return finished
        except (OSError, ValueError):
            pass
        return None

    @property
    def log(self) -> Path:
        """What its attempts have said."""
        return self.folder / layout.LOG

    def weights(self, best: Best) -> Path:
        """The file of the best weights."""
        return self.folder / best.file

    def clear(self) -> None:
        """Remove the folder."""
        remove(self.folder)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _flatten(optimiser: dict[str, Any], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {
        f"{number}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for number, values in optimiser["state"].items()
        for name, value in values.items()
    }
    save_file(tensors, path, {"param_groups": json.dumps(optimiser["param_groups"])})


def _unflatten(path: Path) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        groups = parse_json(file.metadata()["param_groups"])
        for key in file.keys():  # noqa: SIM118 (safetensors' handle is no mapping)
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = file.get_tensor(key)
    return {"state": state, "param_groups": groups}
