"""The word pieces made from a data set's own captions, for a BERT or a CLIP that starts at random."""

from __future__ import annotations

from pathlib import Path

from itrcore import layout
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError


def own_pieces(vocabulary: Path) -> WordPieces:
    """The word pieces in a data set's vocabulary folder. `DataError` where it has none."""
    path = vocabulary / layout.PIECES
    if not path.exists():
        raise DataError.at(
            path,
            "no such file",
            "word pieces for a text encoder that starts at random",
            do="Set vocabulary.word_pieces of the data set, then: dvc repro",
        )
    return WordPieces.read(path)
