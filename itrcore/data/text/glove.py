"""GloVe vectors for a vocabulary's words, looked up in any GloVe text file as the released ESA code does it.

A line is a word and its values, separated by spaces; the file may be plain, `.gz`, or in a `.zip` as Stanford publishes it.
It is read once, line by line, and only the vectors of the words asked for are kept: the 5.6 GB of glove.840B.300d.txt need
no more memory than the vocabulary's embedding.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from itrcore import limits
from itrcore.errors import DataError
from itrcore.files import parse_json, replacing, sha256, text_of
from itrcore.unpacking import damage_as, gunzipped, lines, opened_zip, within

_BUFFER = 1 << 20  # bytes read at once
_HEADER = re.compile(rb"\d{1,18} +(\d{1,18})")  # word2vec's first line: number of words, values of each


@dataclass(frozen=True)
class WordVectors:
    """What a file has for the words of a vocabulary.

    vectors: (n_words, width) float32, 0 for words without a vector; found: (n_words,) bool
    source, sha256: the file's name and the digest of its bytes
    """

    vectors: np.ndarray
    found: np.ndarray
    source: str
    sha256: str

    @property
    def hit_rate(self) -> float:
        """The share of words that have a vector."""
        return float(self.found.mean())

    def missing(self, words: Sequence[str]) -> list[str]:
        """Those of the words that were looked up, in their order, that have no vector."""
        return [word for word, found in zip(words, self.found, strict=True) if not found]

    def save(self, path: Path) -> None:
        """Write safetensors: the same vectors give the same bytes."""
        # One entry: safetensors writes several in the order of a hash map, another one each time.
        metadata = {"source": json.dumps({"name": self.source, "sha256": self.sha256})}
        with replacing(path) as temporary:
            save_file({"vectors": self.vectors, "found": self.found}, temporary, metadata)

    @classmethod
    def load(cls, path: Path) -> WordVectors:
        """Read what `save` wrote; `DataError` where it is missing or something else."""
        try:
            with safe_open(path, "numpy") as file:
                source = parse_json(file.metadata()["source"])
                name, digest = text_of(source["name"], "name of source"), text_of(source["sha256"], "sha256 of source")
                return cls(file.get_tensor("vectors"), file.get_tensor("found"), name, digest)
        except FileNotFoundError:
            raise DataError.at(path, "no such file", "word vectors", do="Run: dvc repro") from None
        except (KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
            raise DataError.at(
                path, f"not readable ({error!r})", "word vectors that stage vocab wrote", do="Run: dvc repro --force"
            ) from error


def look_up(path: Path, words: Sequence[str], width: int) -> WordVectors:
    """Vectors of `width` values for the words, from a GloVe text file (`.gz` and `.zip` are unpacked on the way).

    A word that the file lacks is tried again without `-`, `.` and `'`, and cut at the first `/`. Of several lines for one
    word the last holds, as in torchtext.
    Source: `EncoderText.init_weights` of the released ESA-BiGRU.
    `DataError` where the file is missing or damaged, a line has another number of values, a value of one of the words is
    not finite, or the file has none of the words.
    """
    keys = [(word, _simplified(word)) for word in words]
    known = _read(path, {key.encode() for pair in keys for key in pair}, width)
    vectors, found = np.zeros((len(keys), width), np.float32), np.zeros(len(keys), bool)
    for row, pair in enumerate(keys):
        for key in pair:
            if not found[row] and (vector := known.get(key.encode())) is not None:
                vectors[row], found[row] = vector, True
    if not found.any():
        raise DataError.at(
            path,
            f"none of the {len(keys)} words is in it",
            "vectors for the vocabulary's words",
            do="Is it the right language, and a file of lower-cased words or of both cases?",
        )
    return WordVectors(vectors, found, path.name, sha256(path))


def _simplified(word: str) -> str:
    return word.replace("-", "").replace(".", "").replace("'", "").split("/")[0]


def _read(path: Path, wanted: set[bytes], width: int) -> dict[bytes, np.ndarray]:
    """The wanted words' vectors, by word in UTF-8."""
    known: dict[bytes, np.ndarray] = {}
    number = 0

    def damaged(wrong: str) -> DataError:
        return DataError.at(
            path, f"cannot be read past line {number} ({wrong})", "a whole file", do="Download it again."
        )

    try:
        with damage_as(damaged), _opened(path, width) as opened:
            for number, line in enumerate(lines(opened), 1):
                text = line.rstrip() if number > 1 else line.removeprefix(codecs.BOM_UTF8).rstrip()
                if number == 1 and (header := _HEADER.fullmatch(text)) and width > 1:
                    if int(header[1]) != width:
                        raise _wrong(path, number, f"{int(header[1])} values for each word", width)
                    continue
                # Counting spaces is enough to find the word's end: the 300 values of most lines are not needed.
                plain = text.count(b" ") == width
                word = text[: text.index(b" ")] if plain else _spaced_word(text, path, number, width)
                if word in wanted:
                    known[word] = _values(text[len(word) + 1 :], path, number, width)
    except FileNotFoundError:
        raise DataError.at(
            path, "no such file", "a GloVe text file", do="Correct vocabulary.glove.file in params.yaml."
        ) from None
    except OSError as error:
        raise damaged(str(error)) from error
    return known


def _spaced_word(text: bytes, path: Path, number: int, width: int) -> bytes:
    """The word of a line whose number of spaces is not `width`: glove.840B has words with spaces in them."""
    word, *values = text.rsplit(b" ", width)
    no_word = all(_is_number(part) for part in word.split(b" ")[1:])  # also where there are too few values
    if no_word or not all(_is_number(value) for value in values):
        raise _wrong(path, number, f"{text.count(b' ')} values", width)
    return word


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _values(text: bytes, path: Path, number: int, width: int) -> np.ndarray:
    try:
        values = np.array([float(value) for value in text.split(b" ")])
    except ValueError as error:
        raise _wrong(path, number, str(error), width) from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise _wrong(path, number, "a value that is not finite", width)
    return values.astype(np.float32)


def _wrong(path: Path, number: int, found: str, width: int) -> DataError:
    return DataError.at(
        f"{path}, line {number}",
        found,
        f"a word and {width} numbers, separated by single spaces",
        do="Take the file with vectors of that width, or correct vocabulary.glove.width.",
    )


@contextmanager
def _opened(path: Path, width: int) -> Iterator[IO[bytes]]:
    """The text, unpacked where it is packed."""
    if path.suffix == ".gz":
        with gunzipped(path, limits.VECTORS) as gzipped:
            yield gzipped
    elif path.suffix == ".zip":
        with opened_zip(path) as archive, archive.open(_member(path, archive.namelist(), width)) as zipped:
            yield within(zipped, lambda: path.stat().st_size, limits.VECTORS)  # twice as fast as zipfile's own lines
    else:
        with open(path, "rb", _BUFFER) as plain:
            yield plain


def _member(path: Path, names: list[str], width: int) -> str:
    """The text file in an archive; of several, as in glove.6B.zip, the one whose name says `width`."""
    texts = [name for name in names if name.endswith(".txt") and not name.startswith("__MACOSX/")]
    fitting = texts if len(texts) == 1 else [name for name in texts if f".{width}d." in name]
    if len(fitting) != 1:
        held = ", ".join(names[:8]) or "nothing"
        raise DataError.at(path, f"holds {held}", f"one text file, or one for {width} values (….{width}d.txt)")
    return fitting[0]
