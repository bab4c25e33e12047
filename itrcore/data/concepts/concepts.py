"""The concepts of a data set, as a method is built from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itrcore.errors import DataError
from itrcore.files import digest, parse_json, replacing

_FILE = "concepts.safetensors"


@dataclass(frozen=True)
class Concepts:
    """Words of the training captions.

    words, kinds: n each; counts: (n,); vectors: (n, width) float32; graph: (n, n) float32, normalised, with self-loops
    source: where the vectors are from; tagger: what found the kinds
    """

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    counts: np.ndarray
    vectors: np.ndarray
    graph: np.ndarray
    source: str
    tagger: str

    @property
    def digest(self) -> str:
        """SHA-256 of everything."""
        arrays = [array.tolist() for array in (self.counts, self.vectors, self.graph)]
        return digest([self.words, self.kinds, *arrays, self.source, self.tagger])

    def save(self, folder: Path) -> None:
        """Write a folder that `load` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        described = {key: list(getattr(self, key)) for key in ("words", "kinds")}
        described |= {key: getattr(self, key) for key in ("source", "tagger")}
        arrays = {"counts": self.counts, "vectors": self.vectors, "graph": self.graph}
        with replacing(folder / _FILE) as temporary:
            save_file(arrays, temporary, {"concepts": json.dumps(described)})

    @classmethod
    def load(cls, folder: Path) -> Concepts:
        """Read what `save` wrote; `DataError` where it is missing or something else."""
        path = folder / _FILE
        try:
            with safe_open(path, "numpy") as file:
                described = parse_json(file.metadata()["concepts"])
                arrays = {key: file.get_tensor(key) for key in ("counts", "vectors", "graph")}
            words, kinds = tuple(described["words"]), tuple(described["kinds"])
            return cls(words, kinds, **arrays, source=described["source"], tagger=described["tagger"])
        except FileNotFoundError:
            raise DataError.at(path, "no such file", "the concepts of the data set", do="Run: dvc repro") from None
        except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
            raise DataError.at(path, f"not readable ({error!r})", "concepts", do="Run: dvc repro --force") from error
