"""Where everything lies, relative to the project's folder; the same paths stand in dvc.yaml."""

from __future__ import annotations

from pathlib import Path

NLTK = Path("data/nltk")
REPORT = Path("report")
LEADERBOARD = Path("leaderboard.json")
# Not a DVC output: a killed training goes on from here, and DVC removes outputs before it runs a stage again.
STATE = Path("state")


def raw(data: str) -> Path:
    """What the source gave: SCAN's layout, or `source.json` pointing to where it lies."""
    return Path("data", data, "raw")


def captions(data: str) -> Path:
    """The caption table."""
    return Path("data", data, "captions.parquet")


def vocabulary(data: str) -> Path:
    """The vocabulary."""
    return Path("data", data, "vocab.json")


def shards(data: str) -> Path:
    """Shards and their index."""
    return Path("data", data, "shards")


def run(data: str, name: str) -> Path:
    """A training's results: model.safetensors, history.json, run.json."""
    return Path("runs", data, name)


def evaluation(data: str, name: str) -> Path:
    """A run on test: metrics.json, similarity.npy, retrieved.json."""
    return Path("evaluations", data, name)


def ensemble(data: str, name: str) -> Path:
    """An ensemble on test: the same three files."""
    return Path("ensembles", data, name)
