"""Vectors of a build that is under way, in blocks beside the index: a killed build goes on from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from itrcore.files import remove, replacing, sha256


class Unfinished:
    """Blocks of vectors, each a safetensors file named by its own digest; `digests` are of the items encoded."""

    def __init__(self, folder: Path, weights: str) -> None:
        """weights: digest of the run's; blocks of other ones are removed"""
        self.folder, self._weights = folder, weights

    def add(self, digests: Sequence[str], vectors: np.ndarray) -> None:
        """Keep a block, whole or not at all."""
        whose = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(len(digests), 32)
        data = save({"vectors": vectors, "digests": whose}, {"weights": self._weights})
        with replacing(self.folder / f"{hashlib.sha256(data).hexdigest()}.safetensors") as temporary:
            temporary.write_bytes(data)

    def blocks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Digests and vectors of each whole block of these weights, one block in memory at a time; others are removed."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if (block := read_block(path, self._weights)) is None:
                remove(path)
            else:
                yield block

    def clear(self) -> None:
        """The index is written."""
        remove(self.folder)


def read_block(path: Path, weights: str) -> tuple[list[str], np.ndarray] | None:
    """Digests and vectors of a block. None where it is not whole, or of other weights."""
    if path.stem != sha256(path):
        return None
    try:
        with safe_open(path, "np") as file:
            of: Mapping[str, str] = file.metadata() or {}
            digests, vectors = file.get_tensor("digests"), file.get_tensor("vectors")
    except (OSError, SafetensorError, ValueError, TypeError):
        return None
    fits = digests.shape == (len(vectors), 32) and vectors.ndim == 2 and vectors.dtype == np.float32
    if of.get("weights") != weights or not fits:
        return None
    return [bytes(row).hex() for row in digests], vectors
