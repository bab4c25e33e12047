"""Parity fixtures: what released codes computed with given weights, and checkpoint files with those weights.

tests/data/parity holds figures only: configuration, inputs and results. Every weight follows from its name by `tensor`.
More fixtures of the same kind are read from the folder $ITR_PARITY_DIR where it is set.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML
from transformers import BertConfig

from itrcore.data.tokens import TokenIds
from itrcore.models import bert, registry
from itrcore.models.base import Method
from itrcore.models.settings import MethodSettings
from itrcore.models.text import TextInputs
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint, read
from itrcore.released.layouts import LAYOUTS, layout_of

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "data" / "parity"


def fixtures() -> list[Path]:
    """The project's own, then those of $ITR_PARITY_DIR."""
    folders = [OWN, *([Path(os.environ["ITR_PARITY_DIR"])] if os.environ.get("ITR_PARITY_DIR") else [])]
    return [path for folder in folders for path in sorted(folder.glob("*.json"))]


@cache
def load(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


def family(fixture: dict[str, Any]) -> str:
    """The name of the fixture's method here: method, variant and text encoder, those that it has."""
    parts = (fixture["method"], fixture.get("variant"), fixture.get("text_encoder"))
    return "_".join(part.lower().replace("-", "_") for part in parts if part)


def built(fixture: dict[str, Any]) -> bool:
    return family(fixture) in LAYOUTS


@cache
def published(name: str) -> MethodSettings:
    """The published settings of a family."""
    methods = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))["methods"]
    (settings,) = [method for method in map(MethodSettings.model_validate, methods.values()) if method.family == name]
    return settings


def tensor(seed: int, part: str, name: str, shape: Any, kind: str = "normal", scale: float | None = None) -> np.ndarray:
    """Standard normal values from a generator seeded with the CRC-32 of "seed/part/name", shaped to what `kind` needs."""
    if kind in ("zeros", "count"):
        return np.zeros(shape, np.int64 if kind == "count" else np.float32)
    generator = np.random.default_rng(zlib.crc32(f"{seed}/{part}/{name}".encode()))
    x = generator.standard_normal(tuple(shape)).astype(np.float32)
    if kind == "positive":
        return np.abs(x) + np.float32(0.5)
    if kind == "gain":
        return (1.0 + 0.1 * x).astype(np.float32)
    if scale is None:
        scale = float(1.0 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 16.0))
    return x * np.float32(scale)


def stated(fixture: dict[str, Any], text: str, side: str) -> np.ndarray:
    """The tensor that a fixture's loss states as text: `tensor(seed,'loss','scores',(7,7),scale=0.3)`."""
    found = re.search(r"\(([\d, ]+)\),\s*scale=([\d.]+)\)", text)
    assert found is not None, text
    shape = [int(number) for number in found[1].split(",")]
    return tensor(fixture["seed"], "loss", side, shape, scale=float(found[2]))


def released_parts(fixture: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The state dicts of the fixture's checkpoint."""
    return [
        {
            entry["name"]: torch.from_numpy(
                np.asarray(fixture["explicit"][f"{number}/{entry['name']}"], np.float32)
                if entry["kind"] == "explicit"
                else tensor(fixture["seed"], str(number), entry["name"], entry["shape"], entry["kind"])
            )
            for entry in entries
        }
        for number, entries in enumerate(fixture["parts"])
    ]


def write_checkpoint(fixture: dict[str, Any], path: Path, **changes: Any) -> Path:
    """The fixture's checkpoint as its released training writes it; `changes`: other entries of the file."""
    prefix = "module." if fixture.get("text_encoder") == "bert" else ""
    parts = [{prefix + name: value for name, value in part.items()} for part in released_parts(fixture)]
    content = {"epoch": 25, "model": parts, "best_rsum": 512.5, "opt": Namespace(**fixture["opt"]), "Eiters": 28300}
    torch.save({key: value for key, value in (content | changes).items() if value is not None}, path)
    return path


def import_file(
    path: Path, settings: MethodSettings, config: BertConfig | None = None
) -> tuple[Method, Checkpoint, convert.Sizes]:
    """The method of a checkpoint file, by the importer; `config`: of its BERT, which the weights do not tell whole."""
    checkpoint = read(path)
    sizes = convert.sizes(checkpoint, settings, config)
    method = build(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout_of(settings), method))
    return method.eval(), checkpoint, sizes


def build(sizes: convert.Sizes) -> Method:
    """A method of the given sizes, weights at random."""
    ids = TokenIds(sizes.n_tokens, sizes.n_tokens - 1, np.arange(1, sizes.n_tokens - 1))
    size = sizes.bert
    inputs = TextInputs(ids, bert=None if size is None else lambda: bert.configured(size))
    return registry.build(sizes.settings, sizes.width, inputs, 0)
