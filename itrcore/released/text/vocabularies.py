"""What the vocabularies of imported runs have in common: where the data set's lie, and that they have the right size."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.errors import DataError


def of_data(data: str, file: str) -> Path:
    """The data set's own vocabulary. `DataError` where it has none."""
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
            do="A checkpoint works with the vocabulary that it was trained with and no other: name it with --vocab.",
        )
