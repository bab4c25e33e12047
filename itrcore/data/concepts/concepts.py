"""The concepts of a data set, as stage `concepts` writes them: words, counts, word vectors, and a graph.

concepts.json           words, their kinds and counts; where the vectors and the parts of speech are from
concepts.safetensors    vectors and graph
files.json              the SHA-256 of both; alone where no concepts were asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from itrcore import intact
from itrcore.errors import DataError
from itrcore.files import WrongKind, digest, number_of, read_json, text_of, write_json

KINDS = {"object": "objects", "motion": "motions", "property": "properties"}  # one, several
OBJECT, MOTION, PROPERTY = KINDS
_WORDS, _ARRAYS = "concepts.json", "concepts.safetensors"


@dataclass(frozen=True)
class Concepts:
    """The n concepts of a data set: all objects, then motions, then properties, each from the most frequent on.

    words, kinds: of each concept; a kind is one of `KINDS`, and no word is there twice
    counts: (n,) int64, the training captions that have it
    vectors: (n, width) float32; 0 for a concept without a word vector
    graph: (n, n) float32, the normalised adjacency with self-loops that a graph convolution multiplies with: row i is what
        concept i takes from each concept, and sums to 1
    source: of the vectors, "glove" or "captions"
    tagger: what told the parts of speech, "nltk" or "rules"
    """

    words: tuple[str, ...]
    kinds: tuple[str, ...]
    counts: np.ndarray
    vectors: np.ndarray
    graph: np.ndarray
    source: str
    tagger: str

    def __len__(self) -> int:
        return len(self.words)

    @property
    def numbers(self) -> str:
        """How many of each kind, for people."""
        of = {kind: self.kinds.count(kind) for kind in KINDS}
        return ", ".join(f"{count} {kind if count == 1 else KINDS[kind]}" for kind, count in of.items())

    def _texts(self) -> dict[str, Any]:
        """All but the arrays of floats, as JSON values."""
        counts = [int(count) for count in self.counts]
        return {
            "source": self.source,
            "tagger": self.tagger,
            "words": list(self.words),
            "kinds": list(self.kinds),
            "counts": counts,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all that is in it."""
        arrays = {"vectors": self.vectors, "graph": self.graph}
        return digest(
            {
                **self._texts(),
                **{name: [array.shape, sha256(_bytes(array)).hexdigest()] for name, array in arrays.items()},
            }
        )

    def save(self, folder: Path) -> None:
        """Write the three files into a folder, which is made if needed. The same concepts give the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _WORDS, self._texts())
        arrays = {"vectors": self.vectors, "graph": self.graph}
        save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, folder / _ARRAYS)
        intact.seal(folder)

    @classmethod
    def load(cls, folder: Path) -> Concepts:
        """Read what `save` wrote. `DataError` where it is missing, damaged or something else, or no concepts were asked for."""
        if not folder.is_dir():
            raise DataError.at(folder, "no such folder", "a data set's concepts", do="Run: dvc repro")
        if not intact.check_sealed(folder):
            raise DataError.at(
                folder,
                "this data set has no concepts",
                "some",
                do="Add to its vocabulary in params.yaml: concepts: {objects: 210, motions: 30, properties: 60}. "
                "Then run: dvc repro",
            )
        try:
            texts, arrays = read_json(folder / _WORDS), load_file(folder / _ARRAYS)
            concepts = cls(
                tuple(text_of(word, "a word") for word in texts["words"]),
                tuple(text_of(kind, "a kind") for kind in texts["kinds"]),
                np.array([number_of(count, "a count") for count in texts["counts"]], np.int64),
                arrays["vectors"],
                arrays["graph"],
                text_of(texts["source"], "source"),
                text_of(texts["tagger"], "tagger"),
            )
            concepts._check()
        except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
            found = str(error) if isinstance(error, WrongKind) else f"not readable ({error!r})"
            raise DataError.at(
                folder,
                found,
                "concepts that stage concepts wrote",
                do="Run: dvc repro --force --single-item concepts@DATA",
            ) from error
        return concepts

    def _check(self) -> None:
        """`ValueError` where its parts are not of one length, or not of their kinds."""
        n = len(self.words)
        if not n or len(set(self.words)) < n or len(self.kinds) != n or self.counts.shape != (n,):
            raise ValueError("words, kinds and counts do not fit each other")
        if not set(self.kinds) <= set(KINDS):
            raise ValueError(f"kinds other than {', '.join(KINDS)}")
        if self.graph.shape != (n, n) or self.vectors.ndim != 2 or len(self.vectors) != n:
            raise ValueError(f"vectors {self.vectors.shape} and graph {self.graph.shape} for {n} words")
        if self.vectors.dtype != np.float32 or self.graph.dtype != np.float32:
            raise ValueError("vectors or graph are not float32")
        if not (np.isfinite(self.vectors).all() and np.isfinite(self.graph).all()):
            raise ValueError("a vector or the graph has a value that is not finite")


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, np.float32).tobytes()
