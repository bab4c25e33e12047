"""Ending a training as SIGKILL would, without a process for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from itrcore.files import read_json
from itrcore.training.state import StateFolder, TrainingState
from tests.support.tiny_project import train_in


class Killed(BaseException):
    """Stands for SIGKILL where a whole process would take too long."""


class Kill:
    """Ends a training after its n-th save of a state from now on."""

    def __init__(self, monkeypatch: Any) -> None:
        self.left = -1
        original = StateFolder.save

        def save(folder: StateFolder, *arguments: Any) -> None:
            original(folder, *arguments)
            self.left -= 1
            if self.left == 0:
                raise Killed

        monkeypatch.setattr(StateFolder, "save", save)

    def after(self, saves: int, folder: Path, name: str = "one") -> None:
        self.left = saves
        torch.manual_seed(os.getpid() + saves)  # a new process would not have the old one's random state
        with pytest.raises(Killed):
            train_in(folder, name)
        self.left = -1


def saved(folder: Path, name: str = "one") -> TrainingState:
    (path,) = (folder / "state" / "tiny" / name).glob("step-*")
    return TrainingState(**read_json(path / "state.json")["state"])
