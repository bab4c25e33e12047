"""A small valid experiment for the tests of settings: params.yaml and one recipe. And those that are shipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from itrcore.settings.strict import Settings

ROOT = Path(__file__).parents[2]
EXPERIMENTS = [ROOT / "params.yaml", *sorted((ROOT / "experiments").glob("*/params.yaml"))]

SMALL = """
root: .
downloads: {}
datasets:
  tiny: &tiny
    reads: x
    source: {kind: scan, folder: x, features: bottom-up attention, splits: {train: train, dev: dev, test: test}}
    vocabulary: {min_count: 1}
    shards: {regions: {dtype: float32, samples_per_shard: 10}}
  other: *tiny
profiles:
  short: {recipe: {epochs: 4, schedule: {epochs: [3]}}, model: {pooling: {hidden_dim: 4}}}
training: {device: cpu, precision: float32, threads: 1, save_every_steps: 3, selection: {captions: 100}}
evaluation: {batch_size: 8, tile: 8, vectors: float32, retrieved: 2, queries: 2}
runs:
  one: {data: tiny, method: vse, seed: 1, profile: short}
  two: {data: tiny, method: vse, seed: 2, profile: short}
ensembles:
  both: {data: tiny, runs: [one, two]}
report: {title: test}
"""
RECIPE = """
source: a paper
model:
  kind: vse
  dim: 8
  text: {kind: bigru, word_dim: 8, dropout: 0.0, init: random}
  pooling: {kind: gpo, code_dim: 8, hidden_dim: 8, temperature: 0.1}
  region_drop: 0.2
  token_views: {touch: 0.2, mask: 0.5, random: 0.1, remove: 0.4}
loss: {kind: hinge, margin: 0.2, warmup_epochs: 1}
recipe:
  optimiser: adamw
  learning_rate: 5.0e-4
  weight_decay: 0
  batch_size: 8
  epochs: 25
  evaluations: 1
  schedule: {kind: step, epochs: [15], factor: 0.1}
  clip_norm: 2.0
variants:
  wide: {model: {dim: 16}}
  slow: {recipe: {learning_rate: 1.0e-4, epochs: 30}}
"""
VSE = "recipes/vse.yaml"  # what an error about the recipe begins with

# Parts of an experiment that it does not have.
BERT = {"kind": "bert", "weights": "lab/bert", "dropout": 0.1}
SHAPE = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16, "positions": 32}
CHECKPOINT = {"path": "model_best.pth", "sha256": "a" * 64, "text_digest": "c" * 64}
IMPORTED = {"data": "tiny", "method": "vse", "profile": "short", "checkpoint": CHECKPOINT}


def plain() -> dict[str, Any]:
    """The experiment as one dictionary, its recipe in `methods`; no object in two places."""
    yaml = YAML(typ="safe", pure=True)
    data: dict[str, Any] = json.loads(json.dumps(yaml.load(SMALL) | {"methods": {"vse": yaml.load(RECIPE)}}))
    return data


def write(folder: Path, content: Any = SMALL) -> Path:
    """Write an experiment; the path of its params.yaml. Of a text, which is params.yaml's, with the small recipe.

    content: text or bytes, or data as `plain` has them: whatever they hold is written, so that tests can break all of it
    """
    path, recipes = folder / "params.yaml", folder / "recipes"
    shutil.rmtree(recipes, ignore_errors=True)
    recipes.mkdir()
    if isinstance(content, dict):
        methods = content.get("methods")
        for name, recipe in methods.items() if isinstance(methods, dict) else ():
            _dump(recipe, recipes / f"{name}.yaml")
        _dump({key: value for key, value in content.items() if key != "methods"}, path)
        return path
    (recipes / "vse.yaml").write_text(RECIPE, "utf-8")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _dump(value: Any, path: Path) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(value, path)


def named(*keys: str) -> str:
    """How an error names a place in `plain`: a key of params.yaml, or the recipe's file and the key in it."""
    if keys[:1] != ("methods",):
        return ".".join(keys)
    return ": ".join(filter(None, (f"recipes/{keys[1]}.yaml", ".".join(keys[2:]))))


def at(data: Any, *keys: str | int) -> Any:
    for key in keys:
        data = data[key]
    return data


def yaml_of(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def leaves(value: Any, *above: str) -> dict[tuple[str, ...], Any]:
    """Each setting by its keys."""
    if not isinstance(value, Mapping):
        return {above: value}
    return {keys: leaf for key, inner in value.items() for keys, leaf in leaves(inner, *above, key).items()}


def leaves_of(settings: Settings) -> dict[tuple[str, ...], Any]:
    """The same of settings that are read."""
    return leaves(settings.model_dump(mode="json"))
