"""What a run has made of images or of texts: kept, put together, saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from itrcore import layout
from itrcore.errors import DataError, first_line
from itrcore.evaluation.load import LoadedRun
from itrcore.files import replacing
from itrcore.layers.encoded import Encoded, Sets, Vectors
from itrcore.methods.contract import EmbeddingMethod

Side = Literal["images", "texts"]


@dataclass(frozen=True, eq=False, repr=False)
class EncodedItems:
    """Images or texts that a run has encoded, in order, in main memory.

    `len(items)`; `items[3]`, `items[10:20]`, `items[[5, 1]]` and a mask choose some of them; `items + more` puts both together.
    """

    side: Side
    run: LoadedRun
    encoded: Encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, items: int | slice | Sequence[int] | np.ndarray) -> EncodedItems:
        rows = np.atleast_1d(np.arange(len(self))[items])
        return EncodedItems(self.side, self.run, self.encoded.take(rows))

    def __add__(self, more: EncodedItems) -> EncodedItems:
        """`DataError` where the two are not of one run and one side."""
        more.check(self.side, self.run)
        return EncodedItems(self.side, self.run, type(self.encoded).join([self.encoded, more.encoded]))

    def __repr__(self) -> str:
        return f"<{len(self):,} {self.side} encoded by {self.run.record.name}>"

    @property
    def vectors(self) -> np.ndarray:
        """(n, d) float32, a vector each; the inner product of an image's and a text's is their similarity.

        `DataError` for a run that compares sets, such as words with regions: no item of it has one vector.
        """
        method, name = self.run.method, self.run.record.name
        if not isinstance(method, EmbeddingMethod):
            raise DataError(f"{name}: its items have no vector each, as it compares sets; use similarity or search")
        assert isinstance(self.encoded, Vectors)
        of = method.image_vectors if self.side == "images" else method.text_vectors
        with torch.inference_mode():
            return of(self.encoded.to(next(method.parameters()).device)).float().cpu().numpy()

    def check(self, side: Side, run: LoadedRun) -> None:
        """`DataError` where these are not of that side, or encoded with other weights than those of that run."""
        if self.side != side:
            raise DataError(f"encoded {self.side}; expected encoded {side}")
        if _weights(self.run) != _weights(run):
            raise DataError(f"{side} encoded by {self.run.record.name}; expected {side} encoded by {run.record.name}")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them into one safetensors file, which the run's `read` reads."""
        tensors = {"vectors": self.encoded.vectors}
        if isinstance(self.encoded, Sets):
            tensors["lengths"] = self.encoded.lengths
        about = {"side": self.side, "run": self.run.record.name, "weights": _weights(self.run)}
        with replacing(Path(path)) as temporary:
            save_file({key: value.contiguous() for key, value in tensors.items()}, temporary, about)


def read(path: str | os.PathLike[str], run: LoadedRun) -> EncodedItems:
    """What `EncodedItems.save` wrote. `DataError` where the file is not of that kind, or of a run with other weights."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dictionary)
        side, vectors = about["side"], tensors["vectors"]
        of, name = about["weights"], about["run"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError.at(str(path), f"cannot be read ({first_line(error)})", "encoded images or texts") from error
    if side not in ("images", "texts"):
        raise DataError.at(str(path), f"encoded {side}", "images or texts")
    if of != _weights(run):
        raise DataError.at(
            str(path), f"{side} encoded by {name}", f"{side} encoded by {run.record.name}, with these weights"
        )
    encoded = Sets(vectors, tensors["lengths"]) if "lengths" in tensors else Vectors(vectors)
    return EncodedItems("images" if side == "images" else "texts", run, encoded)


def _weights(run: LoadedRun) -> str:
    return run.record.files[layout.WEIGHTS]
