"""`original_updown_backbone.pth`: bottom-up attention's ResNet-101, which VSE∞'s authors converted from Caffe.

    {"base": state dict of (conv1, bn1, relu, maxpool, layer1, layer2, layer3), "top": state dict of (layer4,)}

Parts are numbered as torch.nn.Sequential numbers them: `base` has `0.weight` for conv1 and `4.0.bn2.bias` in layer1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from itrcore.errors import DataError
from itrcore.pretrained import torch_file

_LAYOUT = "original_updown_backbone.pth as VSE∞'s authors publish it: {base, top: a state dict each}"
_AGAIN = "Download it again."
_COUNTER = "num_batches_tracked"  # statistics stay as they are, so nothing reads it; files from old torch lack it


def load(backbone: nn.Module, path: Path) -> None:
    """Fill a backbone of that form with a file's weights. No code that the file might name is run.

    `DataError` where the file is missing, damaged or something else, and where an entry is missing, unknown, not finite or
    of another shape; nothing is loaded then.
    """
    entries = {f"{part}.{name}": value for part, states in _read(path).items() for name, value in states.items()}
    wanted = {released_name(name): (name, value) for name, value in backbone.state_dict().items()}
    lacking = [name for name in wanted if name not in entries and not name.endswith(_COUNTER)]
    unknown = [name for name in entries if name not in wanted]
    if lacking or unknown:
        problems = [
            f"{what} {_first(names)}" for what, names in (("lacks", lacking), ("has besides", unknown)) if names
        ]
        raise DataError.at(path, "it " + " and ".join(problems), _LAYOUT)
    for name, value in entries.items():
        shape = wanted[name][1].shape
        if not torch_file.plain(value, torch.float32, torch.int64):
            kind = (
                f"{value.layout} {value.dtype}".replace("torch.", "")
                if isinstance(value, Tensor)
                else type(value).__name__
            )
            raise DataError.at(path, f"entry {name} is {kind}", "a plain float32 or int64 tensor", do=_AGAIN)
        if value.shape != shape:
            raise DataError.at(path, f"entry {name} has shape {tuple(value.shape)}", f"shape {tuple(shape)}")
        if not bool(value.isfinite().all()):
            raise DataError.at(path, f"entry {name} holds NaN or infinity", "finite weights", do=_AGAIN)
    weights = {ours: entries.get(name, value) for name, (ours, value) in wanted.items()}
    backbone.load_state_dict(weights)


def released_name(name: str) -> str:
    """The file's name, with its part in front, for an entry of our backbone's state dict. `ValueError` for another name.

    Released checkpoints of methods on grid features have the same names after `backbone.`.
    """
    place, leaf = name.rsplit(".", 1)
    match place.split("."):
        case ["stem", "embedder", kind]:
            return f"base.{'0' if kind == 'convolution' else '1'}.{leaf}"
        case ["stages", stage, "layers", block, "shortcut", kind]:
            inner = f"downsample.{'0' if kind == 'convolution' else '1'}"
        case ["stages", stage, "layers", block, "layer", number, kind]:
            inner = f"{'conv' if kind == 'convolution' else 'bn'}{int(number) + 1}"
        case _:
            raise ValueError(f"{name} is no entry of a ResNet of bottleneck blocks")
    part = "top.0" if stage == "3" else f"base.{int(stage) + 4}"
    return f"{part}.{block}.{inner}.{leaf}"


def _read(path: Path) -> dict[str, Mapping[str, Any]]:
    content = torch_file.read(
        path, _LAYOUT, do="Name it as model.grid.weights; the README of VSE∞'s repository says where to get it."
    )
    if not isinstance(content, dict) or set(content) != {"base", "top"}:
        keys = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise DataError.at(path, f"it holds {keys}", _LAYOUT)
    if not all(isinstance(part, Mapping) for part in content.values()):
        raise DataError.at(path, "base and top are not both state dicts", _LAYOUT)
    return content


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
