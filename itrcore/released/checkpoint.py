"""Released checkpoint files (`model_best.pth`): read without running anything that they hold, and written.

VSE++ began the layout, its successors kept it: `{"epoch", "model": [one state dict per part], "best_rsum", "opt":
argparse.Namespace, "Eiters"}`. ESL with CLIP has another: `{"epoch", "state_dict": one state dict, "optimizer", "config"}`.
They are pickles, and a pickle may name any code to run; only `ALLOWED` is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itrcore.errors import DataError
from itrcore.files import replacing
from itrcore.pretrained import torch_file


class _Config:
    """Stands in for a class that ESL's files with CLIP name: it keeps the attributes, and none of that class's code is run."""


# Beside tensors and plain containers. `best_rsum` needs nothing more: the released codes sum `100.0 * len(…) / len(…)`,
# which are Python's own floats, not numpy's.
ALLOWED: list[Any] = [argparse.Namespace, (_Config, "config.all_config.AllConfig")]

_LAYOUT = "a released checkpoint: {epoch, model: [one state dict per part], opt, …} or {epoch, state_dict, config}"
_PREFIX = "module."  # of every entry of a part that torch.nn.DataParallel wrapped
_TYPES = (torch.float32, torch.int64)  # of weights and of counters, as the released codes have them
_HALVES = ("clip.",)  # what may be float16: OpenAI's own files are
_NEEDED = {"model": "a list of state dicts", "state_dict": "a state dict"}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    parts: a state dict each, in the file's order, names without DataParallel's prefix; all values are finite
    path: the file, for messages; epoch: epochs done; iterations: steps done; best_rsum: on dev, up to 600
    options: `opt` or `config`, the options of its training
    flat: one state dict, under `state_dict`; widened: number of CLIP's entries that the file has as float16
    What a file leaves out is None, or {} for `options`.
    """

    path: Path
    parts: list[dict[str, Tensor]]
    epoch: int | None
    best_rsum: float | None
    iterations: int | None
    options: dict[str, Any]
    flat: bool = False
    widened: int = 0

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint onto the CPU.

        `DataError` where the file is missing, damaged or something else, wants code to be run, or holds a weight that is
        not finite.
        """
        content = torch_file.read(path, _LAYOUT, ALLOWED)
        if not isinstance(content, dict) or not content.keys() & {"model", "state_dict"}:
            keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
            raise DataError.at(path, f"no entry `model` or `state_dict` in what it holds ({keys})", _LAYOUT)
        flat = "model" not in content
        parts = [content["state_dict"]] if flat else content["model"]
        if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
            name, kind = ("state_dict", parts[0]) if flat else ("model", parts)
            raise DataError.at(path, f"its `{name}` is one {type(kind).__name__}, not {_NEEDED[name]}", _LAYOUT)
        torch_file.check_size(path, (value for part in parts for value in part.values()))
        options = content.get("config" if flat else "opt")
        halves = _HALVES if flat else ()
        return cls(
            path,
            [_part(path, number, part, halves) for number, part in enumerate(parts)],
            _number(content.get("epoch"), int),
            _number(content.get("best_rsum")),
            _number(content.get("Eiters"), int),
            dict(vars(options)) if isinstance(options, argparse.Namespace | _Config) else {},
            flat,
            sum(value.dtype == torch.float16 for part in parts for value in part.values()),
        )

    def write(self, data_parallel: bool) -> None:
        """Write it to `path`. data_parallel: with the prefix that a model wrapped in DataParallel expects"""
        prefix = _PREFIX if data_parallel else ""
        parts = [{prefix + name: value for name, value in part.items()} for part in self.parts]
        options = argparse.Namespace(**self.options)
        content: dict[str, Any] = {"epoch": self.epoch}
        if self.flat:
            content |= {"state_dict": parts[0], "config": options}
        else:
            content |= {"model": parts, "best_rsum": self.best_rsum, "opt": options, "Eiters": self.iterations}
        with replacing(self.path) as temporary:
            # Not as a zip: VSE∞ asks for torch 1.2, which reads none.
            torch.save(content, temporary, _use_new_zipfile_serialization=False)


def _number(value: Any, kinds: Any = int | float) -> Any:
    try:
        return value if isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) else None
    except OverflowError:  # a whole number beyond any float
        return None


def _part(path: Path, number: int, part: Mapping[Any, Any], halves: tuple[str, ...]) -> dict[str, Tensor]:
    """The checked part, without DataParallel's prefix if all names have it. halves: beginnings of names that may be float16"""
    wrapped = bool(part) and all(str(name).startswith(_PREFIX) for name in part)
    entries = {str(name).removeprefix(_PREFIX) if wrapped else str(name): value for name, value in part.items()}
    for name, value in entries.items():
        if not isinstance(value, Tensor):
            raise DataError.at(path, f"entry {name!r} of part {number} is a {type(value).__name__}", "a tensor")
        if value.dtype == torch.float16 and name.startswith(halves):
            entries[name] = value = value.float()
        if not torch_file.plain(value, *_TYPES):
            kind = f"{value.layout} {value.dtype} on {value.device}".replace("torch.", "")
            kind = f"nested {kind}" if value.is_nested else kind
            raise DataError.at(path, f"entry {name!r} of part {number} is {kind}", "a plain float32 or int64 tensor")
        if not bool(value.isfinite().all()):
            raise DataError.at(path, f"entry {name!r} of part {number} holds NaN or infinity", "finite weights")
    return entries
