"""Which code and which data a result comes from."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

# What decides the outcome of a training step; a half-done training is not continued after a change of these.
# The same files as stage `train` of dvc.yaml depends on.
_TRAINING_CODE = (
    "models",
    "training",
    "device.py",
    "losses.py",
    "data/batches.py",
    "data/captions.py",
    "data/clip_tokens.py",
    "data/images.py",
    "data/inputs.py",
    "data/pictures.py",
    "data/pixels.py",
    "data/prepared.py",
    "data/punkt.py",
    "data/shards/cache.py",
    "data/shards/files.py",
    "data/shards/images.py",
    "data/shards/regions.py",
    "data/glove.py",
    "data/token_table.py",
    "data/tokens.py",
    "data/vocabulary.py",
    "data/wordpieces.py",
    "evaluation/ranking.py",
    "evaluation/similarity.py",
)


def code_version() -> str:
    """The git commit, with `-dirty` where tracked files differ from it; `unknown` outside git."""
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return out.stdout.strip() or "unknown"


def training_code_digest() -> str:
    """SHA-256 over the library's files that a training depends on."""
    root = Path(__file__).parent
    total = hashlib.sha256()
    for part in _TRAINING_CODE:
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return total.hexdigest()
