"""The vocabularies of imported runs: where those of data sets lie, and that they have the right size."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.errors import DataError


def of_data(data: str, file: str) -> Path:
    """The path of the data set's own vocabulary. `DataError` where it has none."""
    path = layout.vocabulary(data) / file
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            f"the vocabulary of {data}",
            do=f"Run: dvc repro vocab@{data}. Or name the checkpoint's own with --vocab.",
        )
    return path


def check_size(path: Path | str, n_tokens: int, wanted: int) -> None:
    """`DataError` where a vocabulary, the mask token included, has not as many tokens as the checkpoint has embeddings."""
    if n_tokens != wanted:
        raise DataError.at(
            path,
            f"a vocabulary of {n_tokens} tokens, the mask token included",
            f"{wanted}, as many as the checkpoint has embeddings for",
            do="A checkpoint works only with the vocabulary that it was trained with: name it with --vocab.",
        )
