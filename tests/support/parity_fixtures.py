"""Parity fixtures: what released codes computed with given weights, and checkpoint files with those weights.

tests/support/parity holds figures only: configuration, inputs and results. Every weight follows from its name by `tensor`.
More fixtures of the same kind are read from the folder $ITR_PARITY_DIR where it is set.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import zlib
from argparse import Namespace
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itrcore.methods.contract import Method
from itrcore.methods.sgraf.settings import LHSCSettings
from itrcore.released import convert
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.contract import Sizes
from itrcore.released.layouts import LAYOUTS, layout_of
from itrcore.settings.methods import MethodSettings
from itrcore.settings.recipes import Recipes
from tests.support.openai_clip import OpenAIClip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import BertConfig, CLIPConfig

ROOT = Path(__file__).parents[2]
OWN = ROOT / "tests" / "support" / "parity"


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
    name = fixture["method"].lower().replace("-", "_")
    if name in ("esl", "esl_clip"):
        return f"esl_{fixture['variant'][0]}_{fixture.get('text_encoder', 'clip')}"
    if name == "scan":
        pooling = {"LogSumExp": "lse", "Mean": "avg"}[fixture["opt"]["agg_func"]]
        name = f"scan_{fixture['opt']['cross_attn']}_{pooling}"
    elif name == "sgraf":  # each half is a method
        return f"{fixture['variant'].lower()}_{fixture['text_encoder']}"
    parts = (name, fixture.get("variant"), fixture.get("text_encoder"))
    return "_".join(part.lower().replace("-", "_") for part in parts if part)


def built(fixture: dict[str, Any]) -> bool:
    return family(fixture) in LAYOUTS


@cache
def published(name: str) -> MethodSettings:
    """The published settings of a family."""
    (settings,) = [recipe.settings for recipe in Recipes(ROOT / "recipes").values() if recipe.settings.family == name]
    return settings


def settings_of(fixture: dict[str, Any]) -> list[MethodSettings]:
    """The settings with which a fixture's method must give its similarity: as published, or with LHSC's ways of padding.

    Where captions differ in length, the released one alone does.
    """
    settings = published(family(fixture))
    if not isinstance(settings.model, LHSCSettings):
        return [settings]
    equal = len(set(fixture["inputs"]["lengths"])) == 1
    return [with_model(settings, padding=padding) for padding in ("released", *(("masked",) if equal else ()))]


def with_model(settings: MethodSettings, **changes: Any) -> MethodSettings:
    """Settings with entries of `model` changed."""
    values = settings.model_dump(mode="json")
    values["model"] |= changes
    return MethodSettings.model_validate(values)


def fixture_of(name: str) -> dict[str, Any]:
    """The project's own fixture of a family, the first where there are several."""
    return next(fixture for fixture in map(load, sorted(OWN.glob("*.json"))) if family(fixture) == name)


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


def stated(fixture: dict[str, Any], text: str, side: str, part: str = "loss") -> np.ndarray:
    """A tensor that a fixture states as text: `tensor(seed,'loss','scores',(7,7),scale=0.3)`, or with options' names."""
    match = re.search(r"\((\w+,\s*\w+)\),\s*scale=([\d.]+)\)", text)
    assert match is not None, text
    sizes = [size.strip() for size in match[1].split(",")]
    shape = [int(size) if size.isdigit() else fixture["opt"][size] for size in sizes]
    return tensor(fixture["seed"], part, side, shape, scale=float(match[2]))


def released_parts(fixture: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The state dicts of the fixture's checkpoint, with a small CLIP where the fixture is of what follows one's towers."""
    parts = [
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
    if not family(fixture).endswith("_clip"):
        return parts
    return [clip_entries(fixture) | {f"pool_frames.{name}": value for name, value in parts[0].items()}]


def clip_entries(fixture: dict[str, Any], **sizes: Any) -> dict[str, torch.Tensor]:
    """A small CLIP's entries, as OpenAI names them; `sizes`: of `OpenAIClip`."""
    entries = OpenAIClip(fixture["opt"]["embed_dim"], **sizes).entries()
    entries = {
        name: torch.from_numpy(
            tensor(fixture["seed"], "clip", name, value.shape, "gain" if "ln_" in name else "normal")
        )
        for name, value in entries.items()
        if value.dim()
    }
    return entries | {"clip.logit_scale": torch.tensor(math.log(50.0))}


def write_checkpoint(fixture: dict[str, Any], path: Path, **changes: Any) -> Path:
    """The fixture's checkpoint as its released training writes it; `changes`: other entries of the file."""
    prefix = "module." if fixture.get("text_encoder") == "bert" else ""
    parts = [{prefix + name: value for name, value in part.items()} for part in released_parts(fixture)]
    with all_config() as config:
        vars(config).update(fixture["opt"], dataset_name="Flickr30K", clip_arch="ViT-B/16", pooling_type="transformer")
        moments = {"step": 3, "exp_avg": torch.ones(2)}
        content = (
            {
                "epoch": 9,
                "state_dict": parts[0],
                "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 1e-6, "params": [0]}]},
                "config": config,
            }
            if family(fixture).endswith("_clip")
            else {"epoch": 25, "model": parts, "best_rsum": 512.5, "opt": Namespace(**fixture["opt"]), "Eiters": 28300}
        )
        torch.save({key: value for key, value in (content | changes).items() if value is not None}, path)
    return path


@contextmanager
def all_config() -> Iterator[Any]:
    """An object of the class that ESL's files with CLIP name, which can be pickled as long as this lasts."""
    module = ModuleType("config.all_config")
    all_config = type("AllConfig", (), {"__module__": module.__name__})
    module.AllConfig = all_config  # type: ignore[attr-defined]
    names = {"config": ModuleType("config"), module.__name__: module}
    sys.modules.update(names)
    try:
        yield all_config()
    finally:
        for name in names:
            del sys.modules[name]


def import_file(
    path: Path, settings: MethodSettings, config: BertConfig | CLIPConfig | None = None
) -> tuple[Method[Any, Any], Checkpoint, Sizes[Any, Any]]:
    """The method of a checkpoint file, by the importer; `config`: of its BERT, which the weights do not tell whole."""
    checkpoint = Checkpoint.read(path)
    sizes = convert.sizes(checkpoint, settings, config)
    method = convert.empty(sizes)
    method.load_state_dict(convert.weights(checkpoint, layout_of(settings), method))
    return method.eval(), checkpoint, sizes
