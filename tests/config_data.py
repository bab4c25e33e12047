"""A small valid params.yaml for the tests of the configuration."""

from __future__ import annotations

import json
from typing import Any

from ruamel.yaml import YAML

SMALL = """
nltk: {sources: [], sha256: 'SHA', files: {}, timeout: 1}
downloads: {}
datasets:
  tiny: &tiny
    reads: x
    source: {kind: scan, folder: x, features: bottom-up attention, splits: {train: train, dev: dev, test: test}}
    vocabulary: {min_count: 1}
    shards: {regions: {dtype: float32, samples_per_shard: 10}}
  other: *tiny
methods:
  vse:
    model:
      kind: vse
      dim: 8
      text: {kind: bigru, word_dim: 8, dropout: 0.0, init: random}
      pooling: {kind: gpo, code_dim: 8, hidden_dim: 8, temperature: 0.1}
      region_drop: 0.2
      token_views: {touch: 0.2, mask: 0.5, random: 0.1, remove: 0.4}
    loss: {margin: 0.2, warmup_epochs: 1}
    recipe:
      optimiser: adamw
      learning_rate: 5.0e-4
      weight_decay: 0
      batch_size: 8
      epochs: 25
      evaluations: 1
      schedule: {kind: step, epochs: [15], factor: 0.1}
      clip_norm: 2.0
profiles:
  published: {}
  short: {recipe: {epochs: 4, schedule: {epochs: [3]}}, model: {pooling: {hidden_dim: 4}}}
training: {device: cpu, precision: float32, threads: 1, save_every_steps: 3, selection: {captions: 100}}
evaluation: {batch_size: 8, tile: 8, retrieved: 2, queries: 2}
runs:
  one: {data: tiny, method: vse, seed: 1, profile: short}
  two: {data: tiny, method: vse, seed: 2, profile: short}
ensembles:
  both: {data: tiny, runs: [one, two]}
report: {title: test}
""".replace("SHA", "0" * 64)


def plain() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe", pure=True).load(SMALL)))  # no object in two places
    return data


def at(data: Any, *keys: str | int) -> Any:
    for key in keys:
        data = data[key]
    return data
